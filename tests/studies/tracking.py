"""A chip that notes down which of its fields are read."""

from cimsim.chip.fields import fields

WHOLE = "*"


def tracked(chip, read):
    """Return a chip of equal fields; dotted YAML paths that are read are added to ``read``.

    Whoever takes a section apart as a whole (``model_dump``, ``dict``) has read all of it.
    """
    names = {field.names: path for path, field in fields().items()}
    return _tracked(chip, (), names, read)


def _tracked(part, place, names, read):
    kind = type(part)
    below = {
        name: _tracked(getattr(part, name), (*place, name), names, read)
        for name in kind.model_fields
        if any(known[: len(place) + 1] == (*place, name) and len(known) > len(place) + 1
               for known in names)
        and getattr(part, name) is not None
    }  # fmt: skip
    own = set(kind.model_fields)
    begin = ".".join((*place, ""))

    def get(self, name):
        if name in below:
            return below[name]
        if name in own:
            read.add(names.get((*place, name), f"{begin}{name}"))
        elif name in ("model_dump", "__dict__", "__iter__", "model_copy", "parameters"):
            read.add(f"{begin}{WHOLE}")
        return kind.__getattribute__(self, name)

    same = part.model_copy()
    object.__setattr__(same, "__class__", type(f"Tracked{kind.__name__}", (kind,), {
        "__getattribute__": get, "__module__": __name__,
    }))  # fmt: skip
    return same


def is_declared(path, patterns):
    """Whether what was read is among what is declared."""
    from cimsim.studies.keys import declared

    if path.endswith(WHOLE):
        return path in patterns or WHOLE in patterns
    return declared(path, tuple(patterns))
