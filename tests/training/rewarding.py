"""A reward that killed trainings can import: it stands beside the process that kills them."""


def vowels(prompts: list[str], answers: list[str], expected: list[str]) -> list[float]:
    return [sum(c in "aeiou" for c in text) / max(len(text), 1) for text in answers]
