# io.dompool(7) from the interface file: comments become text, declarations stay as they are.
#   awk -v date=... -v version=... -f interface2mdoc.awk io.dompool.varlink
# A comment belongs to the declaration after it; those above "interface" describe the whole.

function escape(text)
{
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/)
        text = "\\&" text
    return text
}

# mdoc wants a sentence a line.
function sentences(text,    out)
{
    out = ""
    while (match(text, /[.] +/)) {
        out = out escape(substr(text, 1, RSTART)) "\n"
        text = substr(text, RSTART + RLENGTH)
    }
    return out escape(text)
}

function section(name)
{
    if (name == current)
        return
    current = name
    print ".Sh " name
}

# kind and name of the declaration, its text and the comment before it.
function declaration(kind, name, text)
{
    section(kind == "error" ? "DIAGNOSTICS" : kind == "type" ? "TYPES" : "METHODS")
    if (kind != "error") {
        print ".Ss " name
        if (comment != "")
            print sentences(comment)
        print ".Bd -literal"
        printf "%s", text
        print ".Ed"
    } else {
        if (comment != "") {
            print "Every error has the parameter"
            print ".Ql text :"
            print sentences(comment)
            print ".Xr dompool 1"
            print "explains each name."
            print ".Bl -item -compact"
            listing = 1
        }
        print ".It\n.Sy " name
    }
    comment = ""
}

BEGIN {
    print ".\\\" Made from pool/core/io.dompool.varlink by docs/interface2mdoc.awk: edit those."
    print ".Dd " date
    print ".Dt IO.DOMPOOL 7"
    print ".Os dompool " version
    print ".Sh NAME"
    print ".Nm io.dompool"
    print ".Nd the interface of dompoold, in Varlink"
}

/^#/ {
    line = $0
    sub(/^# ?/, "", line)
    comment = comment (comment == "" ? "" : " ") line
    next
}

/^interface / {
    print ".Sh DESCRIPTION"
    print sentences(comment)
    print ".Pp"
    print "The daemon answers at"
    print ".Pa /run/dompool/io.dompool ."
    print "Each message is a JSON object followed by a NUL byte."
    print "A request is"
    print ".Ql {\\(dqmethod\\(dq: \\(dqio.dompool.List\\(dq, \\(dqparameters\\(dq: {...}, \\(dqmore\\(dq: true} ."
    print "An answer has"
    print ".Ql parameters"
    print "or"
    print ".Ql error ,"
    print "and"
    print ".Ql continues"
    print "if further answers follow."
    print "Requests on one connection are answered in the order in which they were sent."
    print "The daemon identifies the caller by the credentials of the socket (SO_PEERCRED)."
    print "A member whose type has a question mark may be null or left out."
    print "Clients are"
    print ".Ql varlinkctl ,"
    print ".Ql dompool call"
    print "and"
    print ".Xr libdompool 3 ."
    comment = ""
    next
}

/^(type|method|error) / {
    kind = $1
    name = $2
    sub(/\(.*/, "", name)
    text = ""
    depth = 0
    open = 1
}

open {
    text = text escape($0) "\n"
    depth += gsub(/\(/, "(") - gsub(/\)/, ")")
    # A method's first pair may close on a line that ends in "->", which goes on.
    if (depth == 0 && $0 !~ /-> *$/) {
        open = 0
        declaration(kind, name, text)
    }
    next
}

/^$/ { comment = current == "" ? comment : "" }

END {
    if (listing)
        print ".El"
    print ".Sh SEE ALSO"
    print ".Xr dompool 1 ,"
    print ".Xr libdompool 3 ,"
    print ".Xr dompoold 8"
    print ".Pp"
    print ".Lk https://varlink.org Varlink"
}
