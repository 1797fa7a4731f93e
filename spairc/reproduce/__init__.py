"""The paper's tables, from training to a verdict: what to run, what it will take, what came out.

`tables` says what a table consists of, `steps` which commands that means, `forecast` how long they
take on this machine, `verdict` whether what came out is what was printed.
"""
