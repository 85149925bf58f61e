def format_policy(text: str, *, name: str = "<policy>") -> str:
    return text


def format_expression(text: str) -> str:
    return text
