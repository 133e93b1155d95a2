"""Classroom assignments: one master becomes a student's folder, a grader, and a file for each platform.

Grader and student's code are two processes. The grader draws inputs, asks for a function's value and compares; the
child (:mod:`.child`) imports the student's file, computes and answers in plain arrays. Expected values, comparisons and
the generator of inputs never enter the child, so it holds nothing worth stealing or forging.

=====================  ================================================================================================
:mod:`.task`           an assignment's folder: ``task.toml``, master, tests
:mod:`.master`         solution markers: from the master to the stub and to mutants
:mod:`.release`        the student's folder, and a check that it holds no solution
:mod:`.submission`     the files that students hand in: folders, archives, notebooks, or nothing
:mod:`.wire`           values as bytes, without pickle
:mod:`.child`          the process that runs the student's code; :mod:`.confine` takes its rights away
:mod:`.sandbox`        starting, asking and ending a child
:mod:`.testing`        the vocabulary of tests; :mod:`.diagnosis` recognises typical mistakes in wrong answers
:mod:`.grading`        all tests on one submission; :mod:`.batch` on a folder of them, resumable
:mod:`.reports`        formats of grades: json, csv, html, junit, gradescope, classroom50
:mod:`.pack`           an autograder for Gradescope
:mod:`.selftest`       solutions, stubs, mutants and attacks, each with the score it must have
:mod:`.similarity`     pairs of programs that share much
=====================  ================================================================================================
"""
