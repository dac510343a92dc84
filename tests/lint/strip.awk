# SPDX-License-Identifier: MIT
# C code without comments, and with empty strings and character constants; the lines stay.
{
    out = ""
    line = $0
    while (line != "") {
        if (in_comment) {
            end = index(line, "*/")
            if (end == 0) {
                break
            }
            in_comment = 0
            line = substr(line, end + 2)
        } else if (match(line, /\/\*|\/\/|"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/)) {
            found = substr(line, RSTART, RLENGTH)
            out = out substr(line, 1, RSTART - 1)
            line = substr(line, RSTART + RLENGTH)
            if (found == "//") {
                break
            } else if (found == "/*") {
                in_comment = 1
            } else {
                quote = substr(found, 1, 1)
                out = out quote quote
            }
        } else {
            out = out line
            break
        }
    }
    print out
}
