"""No breaking change since the last release; and each rule of that check can fail."""
import copy
import importlib.util
import json

import pytest

from harness.settings import BUILD, ROOT


def load():
    spec = importlib.util.spec_from_file_location("evolution", ROOT / "contracts/evolution.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evolution = load()
RELEASED = json.loads((ROOT / "contracts/released/shape.json").read_text())
ANIME, EVENT, STATUS = "echora.catalog.v1.Anime", "echora.events.v1.AnimeUpdatedEvent", "echora.catalog.v1.AnimeStatus"


def current():
    return evolution.read_set(BUILD / "contracts/gen/published.desc")


def test_nothing_breaks_what_was_released():
    assert evolution.breaks(RELEASED, evolution.shape_of(current())) == []


def file_of(files, package):
    return next(f for f in files.file if f.package == package and f.message_type)


def message(files, full_name):
    package, _, name = full_name.rpartition(".")
    return next(m for f in files.file if f.package == package for m in f.message_type if m.name == name)


def enum(files, full_name):
    package, _, name = full_name.rpartition(".")
    return next(e for f in files.file if f.package == package for e in f.enum_type if e.name == name)


def field(files, full_name, name):
    return next(f for f in message(files, full_name).field if f.name == name)


def remove(container, thing):
    container.remove(thing)


def reserve(thing, number, name, end):
    thing.reserved_range.add(start=number, end=end)
    thing.reserved_name.append(name)


# Each plants one change into a fresh descriptor set and says what must be found.
def removed_message(s):
    file = next(f for f in s.file if any(m.name == "AnimeUpdatedEvent" for m in f.message_type))
    remove(file.message_type, message(s, EVENT))
    return f"{EVENT}: removed"


def moved_package(s):
    file_of(s, "echora.events.v1").package = "echora.events.v2"
    return f"{EVENT}: removed"


def removed_field(s):
    remove(message(s, ANIME).field, field(s, ANIME, "year"))
    return "number 18 is not reserved"


def removed_field_without_its_name(s):
    remove(message(s, ANIME).field, field(s, ANIME, "year"))
    message(s, ANIME).reserved_range.add(start=18, end=19)
    return "name is not reserved"


def renamed_field(s):
    field(s, ANIME, "year").name = "first_year"
    return "name was year, is first_year"


def other_json_name(s):
    field(s, ANIME, "year").json_name = "Year"
    return "json was year, is Year"


def retyped_field(s):
    field(s, ANIME, "year").type = 3  # int64
    return "type was int32, is int64"


def other_message_type(s):
    field(s, ANIME, "score").type_name = ".echora.catalog.v1.Statistics"
    return "is echora.catalog.v1.Statistics"


def singular_made_repeated(s):
    field(s, ANIME, "title").label = 3
    return "presence was singular, is repeated"


def optional_made_singular(s):
    field(s, ANIME, "year").proto3_optional = False
    field(s, ANIME, "year").ClearField("oneof_index")
    return "presence was optional, is singular"


def moved_into_a_oneof(s):
    message(s, ANIME).oneof_decl.add(name="either")
    field(s, ANIME, "title").oneof_index = len(message(s, ANIME).oneof_decl) - 1
    return "oneof was None, is either"


def moved_number(s):
    field(s, ANIME, "year").number = 99
    return "number 18 is not reserved"


def map_made_message(s):
    entry = next(n for n in message(s, ANIME).nested_type if n.options.map_entry)
    entry.options.map_entry = False
    return "map entry"


def freed_number(s):
    del message(s, ANIME).reserved_range[:]
    return "number 43 is no longer reserved"


def removed_enum(s):
    file = next(f for f in s.file if any(e.name == "AnimeStatus" for e in f.enum_type))
    remove(file.enum_type, enum(s, STATUS))
    return f"{STATUS}: removed"


def removed_value(s):
    remove(enum(s, STATUS).value, next(v for v in enum(s, STATUS).value if v.name == "ANIME_STATUS_ONGOING"))
    return "number 3 is not reserved"


def renumbered_value(s):
    next(v for v in enum(s, STATUS).value if v.name == "ANIME_STATUS_ONGOING").number = 30
    return "number was 3, is 30"


def renamed_value(s):
    next(v for v in enum(s, STATUS).value if v.name == "ANIME_STATUS_ONGOING").name = "ANIME_STATUS_RUNNING"
    return "ANIME_STATUS_ONGOING: removed"


PLANTED = [removed_message, moved_package, removed_field, removed_field_without_its_name, renamed_field, other_json_name,
           retyped_field, other_message_type, singular_made_repeated, optional_made_singular, moved_into_a_oneof,
           moved_number, map_made_message, freed_number, removed_enum, removed_value, renumbered_value, renamed_value]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda f: f.__name__)
def test_a_planted_change_is_found(plant):
    files = copy.deepcopy(current())
    expected = plant(files)
    found = evolution.breaks(RELEASED, evolution.shape_of(files))
    assert any(expected in line for line in found), found


def test_what_is_free_breaks_nothing():
    files = copy.deepcopy(current())
    anime, status = message(files, ANIME), enum(files, STATUS)
    anime.field.add(name="brand_new", number=500, type=9, label=1, json_name="brandNew")
    status.value.add(name="ANIME_STATUS_NEW", number=50)
    file_of(files, "echora.events.v1").message_type.add(name="NewEvent")
    gone = next(f for f in anime.field if f.name == "year")
    anime.field.remove(gone)
    reserve(anime, 18, "year", 19)
    value = next(v for v in status.value if v.name == "ANIME_STATUS_ONGOING")
    status.value.remove(value)
    reserve(status, 3, "ANIME_STATUS_ONGOING", 3)
    assert evolution.breaks(RELEASED, evolution.shape_of(files)) == []
