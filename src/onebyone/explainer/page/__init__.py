"""The report as one page: a file that opens anywhere and asks no network for anything."""

# pyright: reportImportCycles=false
# `Report.to_html` imports this when it is called.

from onebyone.explainer.page.page import render_page, write_page

__all__ = ["render_page", "write_page"]
