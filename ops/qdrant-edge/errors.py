"""Errors of the front, each with the HTTP status that a Qdrant server answers."""


class HttpError(Exception):
    """Answered as {"status":{"error":text}} with this status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status
        self.text = text


def bad_format(path, text):
    where = f" at `{path}`" if path else ""
    return HttpError(400, f"Format error in JSON body: {text}{where}")


def wrong_input(text):
    return HttpError(400, f"Wrong input: {text}")


def not_found(text):
    return HttpError(404, f"Not found: {text}")


def unsupported(path, what):
    return HttpError(400, f"Not supported by this front: {what} at `{path}`")
