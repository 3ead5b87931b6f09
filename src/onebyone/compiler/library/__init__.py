"""A library without Python: the machine code of a network behind a small interface in C.

plan -> objects by LLVM, runtime by the system's C compiler -> tried -> a folder
"""
