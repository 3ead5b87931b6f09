"""Random networks, and the law that they must satisfy.

drawing     a network drawn line by line, as Python text that runs as it is drawn
grammar     the table of building blocks, and how a network is made of them
convolutions, numbers, images, moves, opaque, writes     the blocks, by what they do
network     what is drawn: text, inputs, and how it is to be compiled
judge       what must hold, through both doors
processes   judging in processes of their own, so that a crash is a finding too
"""
