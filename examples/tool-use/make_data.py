"""Writes data/train.jsonl: what people ask of an assistant, each with the function call that does it. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random

SYSTEM = (
    "Functions: get_weather(city, day), set_timer(minutes), send_message(to, text), convert(amount, from, to), play(artist). "
    "Answer with one call as JSON."
)
CITIES = ["Lisbon", "Oslo", "Lima", "Kyoto", "Accra", "Perth", "Quito", "Turin", "Dublin", "Cairo"]
NAMES = ["Ada", "Ben", "Chen", "Dina", "Eli", "Fay", "Gus", "Hana", "Ivo", "June"]
TEXTS = ["I am late", "happy birthday", "see you at six", "call me back", "dinner is ready", "thank you", "the train is full", "bring some bread"]
MONEY = {"euros": "EUR", "dollars": "USD", "pounds": "GBP", "yen": "JPY", "francs": "CHF"}
ARTISTS = ["Miles Davis", "Nina Simone", "Mozart", "Abba", "Queen", "Bob Marley", "Fela Kuti", "Edith Piaf"]


def ask(draw: random.Random) -> tuple[str, str, dict]:
    """What is asked, the function that does it and its arguments."""
    name = draw.choice(["get_weather", "set_timer", "send_message", "convert", "play"])
    if name == "get_weather":
        city, day = draw.choice(CITIES), draw.choice(["today", "tomorrow"])
        form = draw.choice(["What is the weather in {city} {day}?", "Will it rain in {city} {day}?", "Do I need a coat in {city} {day}?"])
        return form.format(city=city, day=day), name, {"city": city, "day": day}
    if name == "set_timer":
        minutes = draw.randint(2, 59)
        form = draw.choice(["Wake me in {n} minutes.", "Set a timer for {n} minutes.", "The pasta needs {n} minutes.", "Tell me when {n} minutes are over."])
        return form.format(n=minutes), name, {"minutes": minutes}
    if name == "send_message":
        to, text = draw.choice(NAMES), draw.choice(TEXTS)
        form = draw.choice(["Tell {to}: {text}.", "Write {to} a message: {text}.", "Let {to} know: {text}."])
        return form.format(to=to, text=text), name, {"to": to, "text": text}
    if name == "convert":
        amount, (source, target) = draw.randint(2, 990), draw.sample(list(MONEY), 2)
        form = draw.choice(["How many {target} are {amount} {source}?", "Change {amount} {source} to {target}.", "What is {amount} {source} in {target}?"])
        return form.format(amount=amount, source=source, target=target), name, {"amount": amount, "from": MONEY[source], "to": MONEY[target]}
    artist = draw.choice(ARTISTS)
    form = draw.choice(["Play {artist}.", "I want to hear {artist}.", "Put on some {artist}.", "Some music by {artist}, please."])
    return form.format(artist=artist), name, {"artist": artist}


def main() -> None:
    draw = random.Random(0)
    seen = set()
    while len(seen) < 160:
        asked, name, arguments = ask(draw)
        if asked in seen:
            continue
        seen.add(asked)
        call = json.dumps({"name": name, "arguments": arguments})
        roles = (("system", SYSTEM), ("user", asked), ("assistant", call))
        print(json.dumps({"messages": [{"role": role, "content": content} for role, content in roles]}))


if __name__ == "__main__":
    main()
