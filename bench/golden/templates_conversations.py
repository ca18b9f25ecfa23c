"""The conversations of templates.py: what people have in their data, and what templates trip over."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a place: \"now\" & soon, <5 days>.",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "City, e.g. Zürich"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1, "maximum": 5},
            },
            "required": ["location"],
        },
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Searches.",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": ["string", "null"], "description": "what to look for"},
                "filters": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"key": {"type": "string"}, "value": {"type": "number"}}},
                },
                "threshold": {"type": "number", "default": 0.5},
                "strict": {"type": "boolean", "default": False},
            },
            "required": [],
            "additionalProperties": False,
        },
        "return": {"type": "string", "description": "JSON"},
    },
}
EMPTY = {"type": "function", "function": {"name": "ping", "description": "", "parameters": {"type": "object", "properties": {}}}}


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content=..., **more):
    return {"role": "assistant", **({} if content is ... else {"content": content}), **more}


def system(content):
    return {"role": "system", "content": content}


def tool(content, **more):
    return {"role": "tool", "content": content, **more}


def call(name, arguments, id="call00001"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def text(*parts):
    return [{"type": "text", "text": p} for p in parts]


Q, A = user("What is 2 + 2?"), assistant("4")
MULTI = [user("Hi"), assistant("Hello!"), user("Who are you?"), assistant("A model."), user("Thanks"), assistant("Welcome.")]
CALL = [
    user("Weather in Zürich?"),
    assistant("", tool_calls=[call("get_weather", {"location": "Zürich", "unit": "celsius", "days": 2})]),
    tool('{"temperature": 21.5}', name="get_weather", tool_call_id="call00001"),
    assistant("It is 21.5 °C."),
]
TWO_CALLS = [
    system("Use tools."),
    user("Both?"),
    assistant("I look.", tool_calls=[
        call("get_weather", {"location": "Bern"}, "call00001"),
        call("search", {"query": None, "filters": [{"key": "a", "value": 1.0}], "strict": True}, "call00002"),
    ]),
    tool("sunny", name="get_weather", tool_call_id="call00001"),
    tool("[]", name="search", tool_call_id="call00002"),
    assistant("Sunny; nothing found."),
    user("Again"),
    assistant(..., tool_calls=[call("ping", {}, "call00003")]),
    tool("pong", name="ping", tool_call_id="call00003"),
]
THINK = [
    user("Why?"), assistant("Because.", reasoning_content="They ask why.\nI answer."),
    user("And?"), assistant("So.", reasoning_content="\n\nMore thought\n"),
]
INLINE_THINK = [user("Why?"), assistant("<think>\nHm.\n</think>\n\nBecause."), user("And?"), assistant("<think>\n\n</think>\n\nSo.")]

CASES = {
    "one turn": dict(messages=[Q, A]),
    "question": dict(messages=[Q]),
    "question, prompt": dict(messages=[Q], generation_prompt=True),
    "turn, prompt": dict(messages=[Q, A], generation_prompt=True),
    "system": dict(messages=[system("Be brief."), Q, A]),
    "system, prompt": dict(messages=[system("Be brief."), Q], generation_prompt=True),
    "system alone": dict(messages=[system("Be brief.")]),
    "system late": dict(messages=[Q, A, system("Now in French."), user("Et?"), assistant("4")]),
    "system twice": dict(messages=[system("A"), system("B"), Q, A]),
    "developer": dict(messages=[{"role": "developer", "content": "Be kind."}, Q, A]),
    "multi": dict(messages=MULTI),
    "multi, system, prompt": dict(messages=[system("S"), *MULTI, user("Bye")], generation_prompt=True),
    "assistant first": dict(messages=[assistant("Hello"), Q, A]),
    "assistant twice": dict(messages=[Q, A, assistant("Four."), user("ok")]),
    "user twice": dict(messages=[user("a"), user("b"), A]),
    "odd role": dict(messages=[Q, {"role": "critic", "content": "No."}, A]),
    "tools unused": dict(messages=[Q, A], tools=[WEATHER]),
    "tools, prompt": dict(messages=[system("S"), Q], tools=[WEATHER, SEARCH], generation_prompt=True),
    "tools empty list": dict(messages=[Q, A], tools=[]),
    "tool without arguments": dict(messages=[Q], tools=[EMPTY], generation_prompt=True),
    "call": dict(messages=CALL, tools=[WEATHER]),
    "call, prompt": dict(messages=CALL[:3], tools=[WEATHER], generation_prompt=True),
    "call without tools": dict(messages=CALL),
    "call as text": dict(messages=[CALL[0], assistant("", tool_calls=[call("get_weather", '{"location": "Bern"}')]), *CALL[2:]], tools=[WEATHER]),
    "two calls": dict(messages=TWO_CALLS, tools=[WEATHER, SEARCH, EMPTY], generation_prompt=True),
    "call, null content": dict(messages=[CALL[0], assistant(None, tool_calls=[call("ping", {})]), tool("pong"), A], tools=[EMPTY]),
    "call and reasoning": dict(messages=[CALL[0], {**CALL[1], "reasoning_content": "I need the weather."}, *CALL[2:]], tools=[WEATHER]),
    "tool result an object": dict(messages=[*CALL[:2], tool({"temperature": 21.5, "ok": True}), CALL[3]], tools=[WEATHER]),
    "flat call": dict(messages=[CALL[0], assistant("", tool_calls=[{"name": "ping", "arguments": {"x": 1}}]), *CALL[2:]], tools=[EMPTY]),
    "thinking": dict(messages=THINK),
    "thinking, prompt": dict(messages=[*THINK, user("Then?")], generation_prompt=True),
    "thinking off": dict(messages=[Q], generation_prompt=True, vars={"enable_thinking": False}),
    "thinking on": dict(messages=[Q], generation_prompt=True, vars={"enable_thinking": True}),
    "thinking off, turns": dict(messages=THINK, vars={"enable_thinking": False}),
    "thinking on, system": dict(messages=[system("S"), *THINK], vars={"enable_thinking": True}),
    "thinking inline": dict(messages=INLINE_THINK),
    "thinking inline, prompt": dict(messages=[*INLINE_THINK, user("Then?")], generation_prompt=True),
    "thinking field": dict(messages=[user("Why?"), assistant("So.", thinking="Hm.")]),
    "reasoning effort": dict(messages=[Q], generation_prompt=True, vars={"reasoning_effort": "high"}),
    "unicode": dict(messages=[system("日本語で。"), user("こんにちは 👩‍👩‍👧 \u00e9e\u0301 \u200b|"), assistant("مرحبا 𝒳")]),
    "quotes": dict(messages=[user("'a' \"b\" \\n {{ x }} {% if %} <|im_end|>"), assistant("{\"k\": 'v'}")]),
    "empty": dict(messages=[user(""), assistant("")]),
    "blanks": dict(messages=[system("  s  "), user("\n\n a \n"), assistant("\t b\n\n")]),
    "newlines": dict(messages=[user("a\r\nb\rc\nd\n"), assistant("\n\nx\u2028y\n")], generation_prompt=True),
    "parts": dict(messages=[user(text("What", " is it?")), assistant(text("It."))]),
    "parts, system, prompt": dict(messages=[system(text("S")), user(text("Q")), assistant(text("A")), user(text("B"))], generation_prompt=True),
    "image": dict(messages=[user([{"type": "image"}, *text("What?")]), assistant(text("A cat."))]),
    "no content": dict(messages=[Q, assistant(...)]),
    "extra fields": dict(messages=[user("q", name="Ann", weight=1), assistant("a", weight=0, name=None)]),
    "bos in content": dict(messages=[user("<s> a </s>"), assistant("</s>b")]),
    "long": dict(messages=[m for i in range(12) for m in (user(f"q{i} " * i), assistant(f"a{i}\n" * i))]),
}
CONVERSATIONS = [{"name": name, **case} for name, case in CASES.items()]
