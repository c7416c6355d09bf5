"""Templates, style sheet, tables and fonts of the report, as package data.

`report.html.j2` is the document and `parts/` its sections; `report.css` serves both paper (A4) and screen;
`clauses.toml` lists what every report says, `positions.toml` holds what is known of kinds of products (section 2),
`regulations.toml` is the regulation map of annex E and `glossary.toml` holds the definitions of annex F; `fonts/` holds
IBM Plex under the SIL Open Font License (`fonts/OFL.txt`). A company lays its own folder over these: see
docs/how-to/report.md.
"""
