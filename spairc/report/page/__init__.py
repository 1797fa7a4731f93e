"""The report as one page, and the toolkit that the leaderboard's page is made with too.

What is in it:

    toolkit.py            markup that no name can break, embedded data, the whole document
    base.css, grid.css    the look of every page
    base.js               of every page: data, elements, tables that sort
    grid.py               tables
    data.py               the scores of the runs as the page's script reads them
    sections.py           what stands on the page, readable without a script
    gallery.py            match pictures by severity
    report.css, report.js what only the report has
    write.py              from runs to the file
"""
