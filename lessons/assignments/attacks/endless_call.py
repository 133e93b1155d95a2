"""Never ends: in each function."""


def __getattr__(name):
    def answer(*arguments, **options):
        while True:
            pass

    return answer
