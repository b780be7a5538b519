"""Go templates, against what Docker's own client printed for the same templates and values."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cli.listing import HeaderRow, Listing, Row
from sampan.cli.template import Template, TemplateError

VALUE: dict[str, Any] = {
    "Id": "abc",
    "Name": "/c1",
    "State": {"Status": "running", "Running": True, "ExitCode": 0},
    "Config": {"Env": ["A=b", "PATH=/bin"], "Cmd": ["sleep", "1000"], "Labels": {"foo": "bar", "x.y": "z"}},
    "HostConfig": {"Memory": 0, "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}},
    "Mounts": [{"Type": "volume", "Destination": "/data"}, {"Type": "bind", "Destination": "/mnt"}],
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/tcp": None}},
}


def run(text: str, value: Any = VALUE) -> str:
    return Template(text).execute(value)


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{{.Name}} {{.State.Running}} {{.Config.Env}}", "/c1 true [A=b PATH=/bin]"),
        ("{{json .Config.Labels}}", '{"foo":"bar","x.y":"z"}'),
        ('{{index .Config.Labels "x.y"}} {{.Config.Labels.foo}}', "z bar"),
        ("{{.Config.Labels.none}}", "<no value>"),
        ('[{{index .Config.Labels "none"}}]', "[]"),
        ("{{range .Mounts}}{{.Type}}:{{.Destination}};{{end}}", "volume:/data;bind:/mnt;"),
        (
            "{{range $k, $v := .NetworkSettings.Ports}}{{$k}}={{if $v}}{{(index $v 0).HostPort}}{{else}}none{{end}} {{end}}",
            "80/tcp=8080 90/tcp=none ",
        ),
        ("{{range $p, $c := .NetworkSettings.Ports}} {{$p}} -> {{len $c}}{{end}}", " 80/tcp -> 1 90/tcp -> 0"),
        ('{{printf "%q %5d|%-5s|%v" .Name 7 "a" .Config.Cmd}}', '"/c1"     7|a    |[sleep 1000]'),
        ("{{with .State}}{{.Status}}{{else}}no{{end}}", "running"),
        ("{{with .State.ExitCode}}x{{else}}zero{{end}}", "zero"),
        ('{{if and .Id (or false (eq .State.Status "x" "running"))}}yes{{end}}', "yes"),
        ('{{if eq .Id "q"}}a{{else if eq .Id "abc"}}b{{else}}c{{end}}', "b"),
        ("{{eq 1 1}} {{ne 1 2}} {{lt 1 2}} {{ge 1 2}} {{not true}}", "true true true false false"),
        ('{{"q" | printf "%s-%s" "x"}}', "x-q"),
        ('a {{- " b " -}} c', "a b c"),
        ("x {{/* comment */}} y {{- /* c */ -}} z", "x  yz"),
        ('{{`raw\\n`}} {{"\\t|"}}', "raw\\n \t|"),
        ('{{println "a" 1 2}}{{print "a" 1 2 "b"}}', "a 1 2\na1 2b"),
        ('{{slice "abcdef" 1 3}} {{html "<a>"}} {{len "abc"}}', "bc &lt;a&gt; 3"),
        ("{{$x := 5}}{{$x}}{{if true}}{{$x = 6}}{{end}}{{$x}}", "56"),
        ("{{true}} {{1.5}} {{0x10}} {{'a'}}", "true 1.5 16 97"),
        ('{{join .Config.Cmd ","}} {{upper .Name}} {{lower "ABC"}} {{title "ab cd"}}', "sleep,1000 /C1 abc Ab Cd"),
        ('{{(index (split .Name "c") 1)}} {{truncate .Name 2}} {{pad .Id 1 2}}|', "1 /c  abc  |"),
        ("{{.HostConfig.PortBindings}}", "map[80/tcp:[{127.0.0.1 18080}]]"),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}", "A=b,PATH=/bin"),
        ("{{range .Config.Env}}{{if eq . `A=b`}}{{continue}}{{end}}{{.}}{{end}}", "PATH=/bin"),
        ("{{range .Config.Env}}{{.}}{{break}}{{end}}", "A=b"),
        ("{{range .Missing.x}}a{{else}}empty{{end}}", None),
        ("{{define `T`}}<{{.}}>{{end}}{{template `T` .Id}}", "<abc>"),
        ("{{.ID}}", "abc"),
        ("{{$.Id}} {{range .Mounts}}{{$.Id}}{{end}}", "abc abcabc"),
    ],
)
def test_prints_as_docker_does(template: str, printed: str | None) -> None:
    if printed is None:
        with pytest.raises(TemplateError):
            run(template)
    else:
        assert run(template) == printed


@pytest.mark.parametrize(
    ("template", "message", "exit_code"),
    [
        ("{{", "unclosed action", 64),
        ("{{foo}}", 'function "foo" not defined', 64),
        ("{{if .Id}}x", "unexpected EOF", 64),
        ("{{end}}", "unexpected {{end}}", 64),
        ("{{}}x{{.Id | }}", "missing value for command", 64),
        ("{{.Foo}}", 'map has no entry for key "Foo"', 1),
        ("{{.Id.Foo}}", "can't evaluate field Foo in type string", 1),
        ("{{index .Mounts 7}}", "index out of range", 1),
        ("{{lt 1 `a`}}", "incompatible types for comparison", 1),
        ("{{template `none`}}", "not defined", 1),
    ],
)
def test_errors_say_what_is_wrong(template: str, message: str, exit_code: int) -> None:
    with pytest.raises(TemplateError) as caught:
        run(template)
    assert message in caught.value.message
    assert caught.value.exit_code == exit_code


def test_values_print_as_go_prints_them() -> None:
    assert run("{{.}}", {"b": 1, "a": [1.5, None, True]}) == "map[a:[1.5 <nil> true] b:1]"
    assert run("{{.}}", 1e21) == "1e+21"
    assert run("{{.}}", 2.0) == "2"
    assert run("{{.a}}", {"a": {}, "b": 1}) == "map[]"


def test_rows_have_fields_headers_and_sorted_json() -> None:
    listing = Listing(
        {
            "Names": ("NAMES", lambda item: item["n"]),
            "ID": ("CONTAINER ID", lambda item: "1"),
            "Label": ("LABEL", lambda item, name="": f"label {name}"),
        },
        ["ID"],
    )
    row = Row(listing, {"n": "<a>"})
    assert run("{{json .}}", row) == '{"ID":"1","Names":"\\u003ca\\u003e"}'
    assert run('{{.Label "x"}} {{json .Names}}', row) == 'label x "<a>"'
    header = Template("{{.Names | upper}} {{json .ID}} {{truncate .ID 3}}").execute(HeaderRow(listing), headers=True)
    assert header == "NAMES CONTAINER ID CONTAINER ID"
    with pytest.raises(TemplateError, match="can't evaluate field Nope"):
        run("{{.Nope}}", row)


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ('{{printf "%d" "x"}}', "%!d(string=x)"),
        ('{{printf "%s"}}', "%!s(MISSING)"),
        ('{{printf "a" 1}}', "a%!(EXTRA int=1)"),
        ('{{printf "%05d|%x|%t|%%" 42 255 true}}', "00042|ff|true|%"),
        ('{{printf "%.2f" 1.239}}', "1.24"),
    ],
)
def test_printf(template: str, printed: str) -> None:
    assert run(template) == printed
