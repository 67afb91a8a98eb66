#!/bin/sh
# Installs with pip and shows one moving line instead of hundreds: install.sh PYTHON TARGET_PYTHON REQUIREMENTS [PIP_OPTION ...]
# Whatever pip said stands in the log; a failure shows its end.
set -u
pip_python=$1 target=$2 requirements=$3
shift 3
log=$(mktemp "${TMPDIR:-/tmp}/fieldloop-pip.XXXXXX")
total=$(grep -c '==' "$requirements")
(
    "$pip_python" -m pip --python "$target" install --progress-bar off "$@" -r "$requirements" 2>&1
    echo "pip-exit $?"
) | tee "$log" | awk -v total="$total" -v tty="$([ -t 1 ] && echo 1 || echo 0)" '
    function show(text) { if (tty) { printf "\r\033[K  %s", text; fflush() } else if (n % 60 == 0 || text !~ /^collect/) { print "  " text; fflush() } }
    /^(Collecting|Requirement already satisfied)/ { n++; show("collecting " (n > total ? total : n) " of " total) }
    /^Installing collected packages/ { show("installing " total " packages (a minute or two)") }
    END { if (tty) printf "\r\033[K" }'
code=$(sed -n 's/^pip-exit //p' "$log")
if [ "$code" != 0 ]; then
    tail -n 25 "$log" >&2
    echo "Setting up stopped: pip could not install $requirements (whole log: $log). Mend that, then run the same command again." >&2
    exit 1
fi
rm -f "$log"
