import pytest

from harness.settings import BUILD

from . import random_messages
from .tool import Tool


@pytest.fixture(scope="session")
def tool():
    tool = Tool()
    yield tool
    tool.close()


@pytest.fixture(scope="session")
def probe():
    """echora.probe.v1.Probe from protoc's descriptors."""
    return random_messages.types_of_set(BUILD / "test/contract/probe.published.desc")["echora.probe.v1.Probe"]


@pytest.fixture(scope="session")
def published():
    """Every message of our published protos, by full name."""
    return random_messages.types_of_set(BUILD / "contracts/gen/published.desc")
