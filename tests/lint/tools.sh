# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Tools that some lints need and a machine seldom has, fetched once into a cache outside of the clone, without root and
# without touching what is installed. What cannot be fetched fails the lint: nothing is skipped without a word.
tool_cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/chatroom/lint

give_up() {
    echo "$*"
    exit 1
}

# Sets lint_python to a Python that has the packages of requirements.txt.
need_python_packages() {
    local wanted=tests/lint/requirements.txt home log
    need python3
    home=$tool_cache/python-$(cat "$wanted" <(python3 -V) | cksum | cut -d' ' -f1)
    log=$tool_cache/python.log
    lint_python=$home/bin/python3
    mkdir -p "$tool_cache"
    exec 9>"$tool_cache/lock"
    flock 9
    if [ ! -e "$home/complete" ]; then
        rm -rf "$home"
        python3 -m venv "$home" >"$log" 2>&1 ||
            give_up "python3 cannot make an environment (deploy/install.sh lint): $(tail -n 1 "$log")"
        "$lint_python" -m pip install -q --disable-pip-version-check -r "$wanted" >"$log" 2>&1 </dev/null ||
            give_up "PyPI cannot be reached or lacks a package of $wanted: $(tail -n 1 "$log")"
        touch "$home/complete"
    fi
    exec 9>&-
}

# Sets promtool to the program. Debian has it in the package of the server, which would install a service too: so the
# program alone is taken out of the package.
need_promtool() {
    local home=$tool_cache/promtool
    promtool=$(command -v promtool || true)
    [ -z "$promtool" ] || return 0
    promtool=$home/usr/bin/promtool
    mkdir -p "$home"
    exec 9>"$home/lock"
    flock 9
    if [ ! -e "$home/complete" ]; then
        fetch_promtool "$home" >"$home/log" 2>&1 </dev/null ||
            give_up "promtool is missing and cannot be fetched from Debian: $(tail -n 1 "$home/log")"
        touch "$home/complete"
    fi
    exec 9>&-
}

fetch_promtool() { # FOLDER
    local package
    local -a own=(-o "Dir::State::Lists=$1/lists" -o "Dir::Cache=$1/cache" -o APT::Sandbox::User=)
    command -v apt-get >/dev/null || {
        echo "this is not Debian: put promtool into the path"
        return 1
    }
    rm -f "$1"/prometheus_*.deb
    # with the machine's package lists, or, where there are none, with lists of our own
    (cd "$1" && apt-get -q download prometheus) || {
        mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
        apt-get -q "${own[@]}" update
        (cd "$1" && apt-get -q "${own[@]}" download prometheus) || return 1
    }
    package=$(compgen -G "$1/prometheus_*.deb") &&
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$1" ./usr/bin/promtool &&
        rm -rf "$package" "$1/lists" "$1/cache"
}
