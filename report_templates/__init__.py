"""Templates, style sheet, glossary and fonts of the report, as package data.

`report.html.j2` is the document and `parts/` its sections; `report.css` serves both paper (A4) and screen;
`glossary.toml` holds the definitions of Annex B; `fonts/` holds IBM Plex under the SIL Open Font License
(`fonts/OFL.txt`).
"""
