"""Classroom assignments: one master becomes a student's folder, a grader, and a file for each platform.

Grader and student's code are two processes. The grader draws inputs, asks for a function's value and compares; the
child (:mod:`.child`) imports the student's file, computes and answers in plain arrays. What is expected, how it is
compared and how inputs were drawn never enter the child, so there is nothing in it worth stealing or forging.

=====================  ================================================================================================
:mod:`.task`           an assignment's folder: ``task.toml``, master, tests
:mod:`.master`         solution markers: from the master to the stub and to mutants
:mod:`.release`        the student's folder, and proof that it is one
:mod:`.submission`     files that came from people: folders, archives, notebooks, nothing at all
:mod:`.wire`           values as bytes, without pickle
:mod:`.child`          the process that runs the student's code; :mod:`.confine` takes its rights away
:mod:`.sandbox`        starting, asking and ending a child
:mod:`.testing`        what tests are written with; :mod:`.diagnosis` reads a wrong answer's signature
:mod:`.grading`        all tests on one submission; :mod:`.batch` on a folder of them, resumable
:mod:`.reports`        what a grade looks like: json, csv, html, junit, gradescope, classroom50
:mod:`.pack`           an autograder for Gradescope
:mod:`.selftest`       solutions, stubs, mutants and attacks, each with the score it must have
:mod:`.similarity`     who wrote the same as whom
=====================  ================================================================================================
"""
