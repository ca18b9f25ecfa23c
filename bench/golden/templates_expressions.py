"""Pieces of Jinja for templates.py, where engines part from Python."""

EXPRESSIONS = r'''
{{ none }} {{ none is none }} {{ true }} {{ 1.0 }} {{ 1e20 }} {{ 1e-7 }} {{ 0.1 + 0.2 }} {{ 3 / 2 }} {{ 4 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 % -2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ big + 1 }} {{ 9223372036854775807 + 1 }}
{{ d }} {{ l }} {{ (1,) }} {{ (1, 'a') }} {{ d.items() }} {{ d.keys() }} {{ d.values() }} {{ [none, true, 1.5, "it's", 'say "x"', "both ' \""] }}
{{ "a\n\t\\\x07é\u200b😀" }} {{ ["a\n\t\\\x07é\u200b😀"] }}
{{ d | tojson }}|{{ d | tojson(indent=2) }}|{{ d | tojson(indent=4, sort_keys=true) }}|{{ d | tojson(separators=(',', ':')) }}|{{ d | tojson(ensure_ascii=true) }}|{{ [] | tojson(indent=2) }}|{{ {} | tojson(indent=2) }}
{{ "</script>&'\u2028\u0007\u007f" | tojson }} {{ 1.0 | tojson }} {{ big | tojson }} {{ (1, 2) | tojson }} {{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}
{{ undefined_thing }}|{{ undefined_thing is defined }}|{{ undefined_thing | default('x') }}|{{ not undefined_thing }}|{{ undefined_thing | length }}|{{ undefined_thing | list }}|{{ undefined_thing ~ 'a' }}
{{ undefined_thing.x }}
{{ undefined_thing + 'a' }}
{{ 'a' + undefined_thing }}
{{ undefined_thing() }}
{{ 'a' in undefined_thing }} {{ undefined_thing == other_thing }} {{ undefined_thing is sequence }} {{ undefined_thing is callable }}
{{ undefined_thing < 1 }}
{{ 'a' + 1 }}
{{ 1 + '1' }}
{{ none + 'a' }}
{{ none.x }}|{{ d.nope }}|{{ d['nope'] is defined }}|{{ l[10] is defined }}|{{ s[100] is defined }}|{{ 5 .real }}
{{ d.nope.x }}
{{ l[10].x }}
{{ none | length }}
{{ none | trim }}|{{ 5 | upper }}|{{ none ~ 1 ~ true }}
{{ none.strip() }}
{% for x in none %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for k, v in d.items() if v %}{{ k }}={{ v }};{% endfor %}{% for k, v in d.items() if k != 'b' %}{{ loop.index }}{{ k }}{% else %}none{% endfor %}
{% for k in d %}{{ k }}{{ loop.last }}{% endfor %} {% for c in 'aé😀' %}[{{ c }}]{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for a, b in [(1,)] %}{% endfor %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (x, y) = 'ab' %}{{ x }}{{ y }}
{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}
{% for i in l %}{{ y is defined }}{% set y = i %}{{ y }}{% endfor %}{{ y is defined }}
{% if true %}{% set z = 5 %}{% endif %}{{ z }}{% with z = 6, w = z %}{{ z }}{{ w }}{% endwith %}{{ z }}
{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{{ ns['a'] }}{{ ns }}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set ns = namespace(_x=1) %}
{% set q = {} %}{% set q.x = 1 %}
{% set captured %}  a {{ n }} b {% endset %}[{{ captured }}]{% set up | upper | trim %}  x {% endset %}[{{ up }}]
{% macro m(a, b=2, c='z') %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(1, c=4) }}|{{ m(1, 2, 3, 4, x=5) }}|{{ m() }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m }}
{% macro outer() %}[{{ caller('x') }}]{% endmacro %}{% call(v) outer() %}{{ v }}{{ n }}{% endcall %}
{% macro no() %}{% endmacro %}{% call no() %}{% endcall %}
{% set later = 1 %}{% macro m() %}{{ later }}{% endmacro %}{% set later = 2 %}{{ m() }}{% for i in [3] %}{% set later = i %}{{ m() }}{% endfor %}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% for x in [[1, [2, [3]]]] recursive %}{{ loop.depth }}:{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %},{% endfor %}
{% for i in range(6) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% else %}E{% endfor %}
{% for i in [] %}{% else %}E{% endfor %}{% for i in l if i > 5 %}{% else %}F{% endfor %}
{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }} {% endfor %}
{% for i in l if i != 1 %}{{ loop.index }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{% endfor %}
{% for i in l %}{% continue %}{% else %}cut short{% endfor %}{% for i in l %}{% if i == 2 %}{% break %}{% endif %}{% else %}E{% endfor %}
{% break %}
a {#
{{ 'a' % undefined_thing }}{{ 'a' % l }}{{ undefined_thing | last is defined }}{{ l.append | last is defined }}{{ 5 | map('upper') is iterable }}{{ range(4).count(1) }}{{ true.real }}{{ big.real }}
{{ 5 | map('upper') | list }}
{{ loop }}
{{ range(3) }} {{ range(1, 10, 3) | list }} {{ range(5, 0, -2) | list }} {{ 3 in range(5) }} {{ range(10)[2] }} {{ range(10)[::3] }}
{{ range(100001) | length }}
{{ l | sort }} {{ l | sort(reverse=true) }} {{ ['b', 'A', 'c'] | sort }} {{ ['b', 'A', 'c'] | sort(case_sensitive=true) }} {{ people | sort(attribute='age,name') | map(attribute='name') | join(',') }}
{{ people | map(attribute='x.y', default='-') | list }} {{ people | groupby('age') }} {{ people | selectattr('x') | list | length }} {{ people | rejectattr('age', 'equalto', 3) | map(attribute='name') | first }} {{ people | sum(attribute='age') }} {{ people | map(attribute='name') | map('upper') | list }}
{% for g in people | groupby('age') %}{{ g.grouper }}{{ g.list | length }}{{ g[0] }}{% endfor %}
{{ l | map('string') | join('-') }} {{ l | select('odd') | list }} {{ l | reject('equalto', 1) | list }} {{ [0, '', none, 1] | select | list }} {{ l | min }}{{ l | max }}{{ [] | max is defined }} {{ l | first }}{{ l | last }}{{ [] | first is defined }} {{ l | reverse | list }} {{ 'abc' | reverse }} {{ ['a', 'A', 'b'] | unique | list }}
{{ l | map('nope') | list }}
{{ l | nope }}
{% if false %}{{ l | nope }}{% endif %}ok
{% if true %}{{ l | nope }}{% endif %}
{% if false %}{% for x in l %}{{ x | nope }}{% endfor %}{% endif %}ok
{{ (l | nope) if false else 'ok' }}
{{ 1 is nope }}
{{ l | batch(2) | list }} {{ l | batch(2, 'x') | list }} {{ [1, 2, 3, 4, 5] | slice(3) | list }} {{ [1, 2, 3, 4, 5] | slice(3, 0) | list }} {{ d | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(by='value', reverse=true) }} {{ d | items | list }}
{{ s | trim }}|{{ s | upper }}|{{ s | lower }}|{{ 'hello wORLD-foo (bar)' | title }}|{{ 'hELLO x' | capitalize }}|{{ 'a b' | center(9) }}|{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb\n\nc' | indent(2, true, true) }}|{{ 'a\nb' | indent('> ') }}|{{ 'foo bar baz qux' | truncate(9, leeway=0) }}|{{ 'foo bar baz qux' | truncate(9, true, leeway=0) }}|{{ 'a b  c' | wordcount }}
{{ 'xxaxx' | trim('x') }}|{{ 'a-b-c' | replace('-', '+', 1) }}|{{ 'abc' | replace('', '-') }}|{{ 123 | replace('2', 'x') }}|{{ '<a href="x">&\'' | escape }}|{{ '<' | e | safe }}|{{ '%s is %d and %.2f %r %5s|%-5s|%05d %x %%' | format('a', 3, 2.5, 'q', 'r', 's', 42, 255) }}|{{ '%s' % none }}|{{ '%(a)s' % {'a': 1} }}|{{ '%s %s' % (1, 'b') }}
{{ '%s' % (1, 2) }}
{{ '%d' % 'x' }}
{{ '{} {} {0}'.format(1) }}
{{ '{}-{}'.format('a', 2) }} {{ '{0[b]} {1.name} {x!r:>5} {y:.2f} {z:05d} {z:,} {w:^7}|'.format(d, people[0], x='q', y=2.5, z=1234, w='mid') }} {{ '{:x} {:#b} {:e} {:g} {:%}'.format(255, 5, 1234.5, 0.0001, 0.25) }}
{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a b c '.split(none, 1) }} {{ 'a.b.c'.rsplit('.', 1) }} {{ ' a b c'.rsplit(none, 1) }} {{ 'a\nb\r\nc\u2028d'.splitlines() }} {{ 'a\nb'.splitlines(true) }} {{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ ''.split() }} {{ ''.split(',') }}
{{ 'a'.split('') }}
{{ ' x '.strip() }}|{{ 'xyx'.strip('x') }}|{{ ' x '.lstrip() }}|{{ ' x '.rstrip() }}|{{ '\u00a0\u3000x\x1f'.strip() }}|{{ '\u200bx'.strip() | length }}|{{ 'abcabc'.find('c') }}{{ 'abcabc'.rfind('c') }}{{ 'é€x'.find('x') }}{{ 'abc'.find('z') }}{{ 'abcabc'.count('bc') }}{{ 'abc'.index('b') }}{{ 'aXbX'.replace('X', '-', 1) }}
{{ 'abc'.index('z') }}
{{ 'Hello'.startswith('He') }}{{ 'Hello'.startswith(('x', 'H')) }}{{ 'Hello'.endswith('lo') }}{{ 'Hello'.startswith('l', 2) }}{{ 'abc'.isalpha() }}{{ '12'.isdigit() }}{{ ''.isalpha() }}{{ 'aB'.islower() }}{{ 'AB1'.isupper() }}{{ ' '.isspace() }}{{ 'x1'.isalnum() }}{{ 'A Title'.istitle() }}{{ 'a_1'.isidentifier() }}{{ '²'.isdigit() }}{{ '²'.isdecimal() }}
{{ "they're bill's friends 1st-x".title() }} {{ 'ß straße ŉ'.upper() }} {{ 'ΑΣ ΣΑ'.lower() }} {{ 'İ'.lower() | length }} {{ 'ǆx ßa'.capitalize() }} {{ 'aBc'.swapcase() }} {{ 'x'.center(4, '*') }} {{ 'xx'.center(5, '*') }} {{ 'x'.ljust(3) }}| {{ 'x'.rjust(3, '0') }} {{ '-5'.zfill(4) }} {{ 'a\tb'.expandtabs(4) }} {{ 'pre-x'.removeprefix('pre-') }} {{ 'x.py'.removesuffix('.py') }} {{ '-'.join(['a', 'b']) }} {{ 'Straße'.casefold() }}
{{ '-'.join([1]) }}
{{ s[0] }}{{ s[-1] }}{{ s[1:4] }}{{ s[::-1] }}{{ s[::2] }}{{ 'é€😀x'[1:3] }}{{ 'é€😀x'[-2] }}{{ l[1:] }}{{ l[::-1] }}{{ l[-2:] }}{{ l[:100] }}{{ l[5:] }}{{ (1, 2, 3)[1:] }}{{ l.0 }}{{ l[-1] }}{{ l[true] }}
{{ l[::0] }}
{{ n[1:] }}
{{ d[1:] }}
{{ d.a.1 }} {{ d['a'][0] }} {{ d.get('b') }} {{ d.get('zz') }} {{ d.get('zz', 5) }} {{ d.items() | list | length }} {{ 'b' in d }} {{ 'b' not in d }} {{ d | length }} {{ d == {'b': 1} }} {{ {'a': 1} == {'a': 1.0} }} {{ {'x': 1}['x'] }} {{ d.copy() == d }} {{ {'items': 3}.items is callable }} {{ {'items': 3}['items'] }} {{ {}['items'] is callable }} {{ d.keys() | list }}
{{ l.append(4) }}
{{ d.update({}) }}
{{ d.pop('b') }}
{{ l.append }}|{{ s.__class__ }}|{{ l.__len__ }}
{{ s.__class__.x }}
{{ l.index(1) }}{{ l.count(3) }}
{{ dict(a=1, b=2) }} {{ dict([('a', 1)]) }} {{ dict({'a': 1}, b=2) }} {{ dict.fromkeys(['a', 'b'], 0) }} {{ dict() }}
{{ 1 == 1.0 }}{{ 1 == true }}{{ '1' == 1 }}{{ none == false }}{{ [1] == [1.0] }}{{ (1,) == [1] }}{{ 1 != 2 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ 1 < 2 < 3 }}{{ 3 > 2 > 2 }}{{ 1 < 2.5 }}{{ big > 1.5 }}{{ 1 in [1.0] }}{{ 'b' in 'abc' }}{{ 'x' not in 'abc' }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ 1 in 'abc' }}
{{ 1 in none }}
{{ 1 in 5 }}
{{ 0 or 'x' }}{{ '' and 'x' }}{{ 1 and 2 }}{{ not 0 }}{{ none or d.b }}{{ 'a' if 0 else 'b' }}{{ 'a' if 0 }}{{ ('a' if 0) is defined }}{{ 'x' if 1 else undefined_thing.x }}
{{ 1 ~ 2 + 3 ~ 'x' }} {{ 1 + 2 * 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ not 1 == 2 }} {{ 7 // 2 * 2 }} {{ -3 | abs }} {{ (-3) | abs }} {{ 10 - 2 - 3 }} {{ 'a' * 3 }} {{ [1] * 2 }} {{ 2 * 'ab' }} {{ [1] + [2] }} {{ 'a' 'b' }} {{ +5 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ '42' | int }} {{ '42.7' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ '0x1f' | int(0, 16) }} {{ ' 1_000 ' | int }} {{ 3.9 | int }} {{ -3.9 | int }} {{ true | int }} {{ none | int }} {{ '1.5' | float }} {{ 'x' | float }} {{ '1e3' | float }} {{ 'inf' | float }} {{ 42.55 | round }} {{ 2.5 | round }} {{ 2.675 | round(2) }} {{ 42.55 | round(1, 'floor') }} {{ 42.1 | round(method='ceil') }} {{ 5 | round }} {{ 1234567 | filesizeformat }} {{ 1 | filesizeformat }} {{ 2048 | filesizeformat(true) }}
{{ 0x1F }} {{ 0b11 }} {{ 0o17 }} {{ 1_000 }} {{ 1.5e3 }} {{ 1e3 }} {{ .5 if false else 1 }}
{{ 1 is odd }}{{ 2 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 'a' is string }}{{ 1 is number }}{{ true is number }}{{ true is integer }}{{ 1 is integer }}{{ 1.0 is float }}{{ true is boolean }}{{ d is mapping }}{{ l is sequence }}{{ d is sequence }}{{ 'a' is iterable }}{{ 5 is iterable }}{{ none is none }}{{ n is sameas n }}{{ l is sameas l }}{{ 1 is in [1] }}{{ 1 is not in [1] }}{{ 'a' is lower }}{{ 'A' is upper }}{{ 1 is eq 1 }}{{ 1 is lt(2) }}{{ 'upper' is filter }}{{ true is true }}{{ 1 is true }}{{ range is callable }}{{ none is not none }}{{ x.y is defined if false else 'k' }}
{{ 1 is odd is even }}
{{ l | map('upper') | list }} {{ d.items() | map('first') | list }} {{ l | select('>', 1) | list }} {{ l | select('in', [1, 2]) | list }}
{{ (l | map('string')) is iterable }} {{ (l | map('string') | list) }} {{ (l | select('odd')) | list | length }}
{{ l | select('odd') | length }}
{% set g = l | map('string') %}{{ g | list }}{{ g | list }}
{{ d.items() | tojson }}
{{ undefined_thing | tojson }}
{{ range(3) | tojson }}
{{ raise_exception('bad ' ~ n) }}
{% filter upper %}a{{ n }}b{% endfilter %}{% filter replace('a', 'b') | upper %}aa{% endfilter %}
{% raw %}{{ x }}{% if %}{% endraw %}|{%- raw -%}  x  {%- endraw -%}  |
{# comment #}a{#- c -#} b {#+ d +#} e
  {% if true %}  
  x
    {% endif %}  
y
a{%- if true -%}  b  {%- endif -%}  c
a {%+ if true %} b {%+ endif %} c
  {{ n }}  {{- n -}}  {{ n }}
{% if true +%}
x{% endif %}
{% block b %}{{ n }}{% set n = 9 %}{% endblock %}{{ n }}
{% include 'x' %}
{% if false %}{% include 'x' %}{% endif %}ok
{% extends 'x' %}
{% autoescape false %}{{ '<' }}{% endautoescape %}
{% print 1, 'a' %}
{% do 1 %}
{% if 1 %}
{% endif %}
{{ 1
{{ 'a }}
{{ }}
{{ a b }}
{% for x l %}{% endfor %}
{% set 1 = 2 %}
{% set true = 2 %}
{{ [1, 2 }}
{{ {'a' 1} }}
{{ f(a=1, 2) }}
{{ 1 is }}
{{ x | }}
{{ 'a' if }}
{% unknown %}
{% macro %}{% endmacro %}
{{ a.'b' }}
{{ 1.5.real }}{{ 'a'.upper().lower() }}{{ [1, 2,] }}{{ (1, 2,) }}{{ () }}{{ {'a': 1,} }}{{ [[]] }}
{{ strftime_now('%Y-%m-%d %d %b %B %A %a %j %H:%M:%S %p %y %e %-d %U %%') }}
{% set j = joiner(', ') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
{% generation %}a{% set inner = 1 %}{% endgeneration %}{{ inner is defined }}
{% for x in l %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}
{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}
{{ messages[0]['content'] }}{{ messages | length }}{{ tools is none }}{{ tools is defined }}{{ documents }}{{ add_generation_prompt }}{{ bos_token }}{{ sep_token is defined }}
{{ lipsum is defined }}{{ range is defined }}{{ dict is defined }}
{%- set x = [1, 2] -%}{%- for i in x -%}{{ i }}{%- if not loop.last %}, {% endif -%}{%- endfor -%}
{{ ('a' ~ 'b') * 2 }}{{ ('%s' | format('x')) ~ 1 }}{{ (d | tojson)[0] }}{{ d | tojson | length }}{{ (s | trim).split(',')[0] }}
{{ l | join(', ', attribute='x') }}|{{ people | join(', ', attribute='name') }}|{{ 'abc' | join('-') }}|{{ d | join(',') }}
{{ l | list is sameas l }}{{ 'abc' | list }}{{ d | list }}{{ 'abc' | first }}{{ 'abc' | last }}{{ d | first }}
{{ [3, 'a'] | sort }}
{{ [1, none] | max }}
{{ d | sort }}
{{ 5 | list }}
{{ none | list }}
{{ none | join }}
{{ none | default('x') }}|{{ none | default('x', true) }}|{{ '' | default('x', true) }}|{{ d.zz | d('y') }}
{{ none | map('upper') | list }}
{{ none | first }}
{{ none | upper }}|{{ none | string | length }}|{{ l | string }}|{{ 1.50 | string }}
{{ 'é' < 'z' }} {{ '😀' > '\uffff' }} {{ ['b', 'a'] | sort | join }}
{{ "\u00e9" }} {{ '\101\x41\u0041' }} {{ 'a\
b' }} {{ 'a\qb' }}
'''.strip("\n")

# A piece is a line, except where a block goes on over lines.
JOIN = ("  {% if true %}  \n", "  x\n", "    {% endif %}  \n", "{% if true +%}\n", "{{ \"\\u00e9\" }} {{ '\\101\\x41\\u0041' }} {{ 'a\\\n", "{% if 1 %}\n")


def pieces():
    piece = ""
    for line in EXPRESSIONS.split("\n"):
        piece += line
        if line + "\n" in JOIN:
            piece += "\n"
            continue
        yield piece
        piece = ""


EXPRESSIONS = list(pieces())
