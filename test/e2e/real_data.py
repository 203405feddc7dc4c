"""Real catalogue files as events, and what they say by themselves.

Nothing here uses the product: the events are plain dicts in canonical proto3 JSON, and every expected
number is counted from the files. See the data folder's README for what the files are.
"""
import functools
import json
import re
import subprocess
import uuid
from pathlib import Path

SPACE = uuid.UUID("7f3a1c52-0f5e-5c3a-9d44-0b1f6a2e8c11")  # of this test's own ids
UNKNOWN_SEASONS = (None, "UNDEFINED")


def zstd(path):
    return subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True).stdout


@functools.cache
def snapshot(folder):
    """The entries of the anime-offline-database snapshot; the first line is metadata."""
    lines = zstd(next(Path(folder).glob("anime-offline-database_*.jsonl.zst"))).decode().splitlines()
    return [json.loads(line) for line in lines[1:]]


def snapshot_expected(folder):
    """Counts that the import must reproduce."""
    entries = snapshot(folder)
    sources = {source for entry in entries for source in entry["sources"]}
    relations = [url for entry in entries for url in set(entry["relatedAnime"])]
    return {"anime": len(entries), "references": len(sources), "relations": len(relations),
            "unresolved": sum(url not in sources for url in relations)}


def event_id(text):
    return str(uuid.uuid5(SPACE, text))


# --- Kitsu: kitsu_id and mal_id are references; imdb_id names whole franchises and is none ----------

KITSU_STATUS = {"FINISHED": "FINISHED", "ONGOING": "ONGOING", "UPCOMING": "UPCOMING",
                "unreleased": "UPCOMING", "tba": "UPCOMING"}
KITSU_TYPE = {"TV": "TV", "movie": "MOVIE", "OVA": "OVA", "ONA": "ONA", "special": "SPECIAL", "music": "MUSIC",
              "series": "TV"}
KITSU_RATING = {"G": "G", "PG": "PG", "R": "R", "R18": "RX"}


@functools.cache
def kitsu_file(folder):
    data = json.loads(zstd(next(Path(folder).glob("kitsu-catalog_*.json.zst"))))
    members = {key for record in data["catalog"] for key in record}
    data["catalog"] = [{key: record.get(key) for key in members} for record in data["catalog"]]
    return data


def kitsu_sources(record):
    urls = [f"https://kitsu.io/anime/{record['kitsu_id']}"]
    if record["mal_id"]:
        urls.append(f"https://myanimelist.net/anime/{record['mal_id']}")
    return urls


def kitsu_events(folder):
    data = kitsu_file(folder)
    for record in data["catalog"]:
        anime_id = event_id(f"kitsu:{record['kitsu_id']}")
        anime = {
            "title": record["name"], "type": "ANIME_TYPE_" + KITSU_TYPE[record["subtype"]],
            "status": "ANIME_STATUS_" + KITSU_STATUS[record["status"]], "sources": kitsu_sources(record),
            "synopsis": record["description"], "genres": record["genres"],
            "images": {"posters": [u for u in [record["poster"]] if u],
                       "banners": [u for u in [record["background"]] if u]},
        }
        if record["year"]:
            anime["year"] = record["year"]
        if record["episodeCount"]:
            anime["episodeCount"] = record["episodeCount"]
        if record["season"] in ("winter", "spring", "summer", "fall"):
            anime["season"] = "ANIME_SEASON_" + record["season"].upper()
        if record["ageRating"] in KITSU_RATING:
            anime["rating"] = "ANIME_RATING_" + KITSU_RATING[record["ageRating"]]
        if record["rating"] is not None:
            anime["statistics"] = {"kitsu": {"score": record["rating"]}}
        minutes = re.fullmatch(r"(?:(\d+) ?h)? ?(?:(\d+) ?min)?", record["runtime"] or "")
        if minutes and any(minutes.groups()):
            anime["duration"] = 3600 * int(minutes[1] or 0) + 60 * int(minutes[2] or 0)
        yield {"eventId": event_id(f"kitsu-event:{record['kitsu_id']}"), "timestamp": data["buildDate"],
               "animeId": anime_id, "anime": anime}


def kitsu_expected(folder):
    """(join one known anime, new, [kitsu ids whose references name two])."""
    owner = {}
    for i, entry in enumerate(snapshot(folder)):
        for url in entry["sources"]:
            owner[url] = i
    known, new, conflicts = 0, 0, []
    for record in kitsu_file(folder)["catalog"]:
        owners = {owner[url] for url in kitsu_sources(record) if url in owner}
        if len(owners) > 1:
            conflicts.append(record["kitsu_id"])
        elif owners:
            known += 1
        else:
            new += 1
    return known, new, sorted(conflicts)


# --- The fully enriched records, whose field names are those of an older model -------------------------

def upper(text):
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")


RATINGS = {"G - All Ages": "G", "PG - Children": "PG", "PG-13 - Teens 13 or older": "PG13",
           "R - 17+ (violence & profanity)": "R", "R+ - Mild Nudity": "RPLUS", "Rx - Hentai": "RX"}
CHARACTER_SITES = {"mal": "https://myanimelist.net/character/{}", "anilist": "https://anilist.co/character/{}",
                   "anidb": "https://anidb.net/character/{}"}
STAFF_FIELDS = {"name": "name", "native_name": "nativeName", "role": "role", "image": "image",
                "biography": "biography", "birth_date": "birthDate", "hometown": "hometown",
                "primary_occupations": "primaryOccupations", "years_active": "yearsActive", "gender": "gender",
                "blood_type": "bloodType", "enhancement_status": "enhancementStatus"}


def renamed(source, names):
    return {new: source[old] for old, new in names.items() if source.get(old) not in (None, [], {})}


def grouped(items):
    """Relations of the old model, a flat list, as the map of today."""
    groups = {}
    for item in items:
        related = {"title": item["title"], "sources": [item["url"]]}
        groups.setdefault(upper(item["relation_type"]), {"items": []})["items"].append(related)
    return groups


def instants(source, names):
    """Times with an offset, as RFC 3339 wants them; the old model leaves it out here and there."""
    found = renamed(source or {}, names)
    for key, text in found.items():
        if len(text) == 10:
            text += "T00:00:00"
        found[key] = text if re.search(r"(Z|[+-]\d\d:\d\d)$", text) else text + "Z"
    return found


def staff(member):
    out = renamed(member, STAFF_FIELDS)
    if member.get("staff_ids"):
        out["staffIds"] = {k: str(v) for k, v in member["staff_ids"].items() if isinstance(v, int)}
    if member.get("community_favorites") is not None:
        out["communityFavorites"] = str(member["community_favorites"])
    return out


def statistics(s):
    out = renamed(s, {"score": "score"})
    for old, new in (("scored_by", "scoredBy"), ("rank", "rank"), ("popularity_rank", "popularity"),
                     ("members", "members"), ("favorites", "favorites")):
        if s.get(old) is not None:
            out[new] = str(s[old])
    out["contextualRanks"] = [
        dict(renamed(r, {"rank": "rank", "format": "format", "year": "year", "season": "season"}),
             context=r["type"], allTime=bool(r.get("all_time"))) for r in s.get("contextual_ranks") or []]
    return out


def rich_anime(a):
    out = renamed(a, {"title": "title", "title_english": "titleEnglish", "title_japanese": "titleJapanese",
                      "month": "month", "nsfw": "nsfw", "synopsis": "synopsis", "background": "background",
                      "year": "year", "duration": "duration", "episode_count": "episodeCount",
                      "sources": "sources", "genres": "genres", "synonyms": "synonyms", "tags": "tags",
                      "demographics": "demographics", "content_warnings": "contentWarnings", "themes": "themes",
                      "images": "images", "external_links": "externalSources", "studios": "studios",
                      "producers": "producers"})
    out["type"] = "ANIME_TYPE_" + a["type"]
    out["status"] = "ANIME_STATUS_" + a["status"]
    if a.get("season"):
        out["season"] = "ANIME_SEASON_" + a["season"]
    if a.get("rating"):
        out["rating"] = "ANIME_RATING_" + RATINGS[a["rating"]]
    if a.get("source_material"):
        out["sourceMaterial"] = "SOURCE_MATERIAL_TYPE_" + upper(a["source_material"])
    if a.get("score"):
        out["score"] = renamed(a["score"], {"arithmetic_geometric_mean": "arithmeticGeometricMean",
                                            "arithmetic_mean": "arithmeticMean", "median": "median"})
    out["relatedAnime"] = grouped(a.get("related_anime", []))
    out["relatedSourceMaterial"] = grouped(a.get("related_source_material", []))
    out["airedDates"] = instants(a.get("aired_dates"), {"from": "airedFrom", "to": "airedTo"})
    out["broadcast"] = instants(a.get("broadcast"), {"premiere_jp": "premiereJp", "premiere_sub": "premiereSub",
                                                     "premiere_dub": "premiereDub"})
    out["trailers"] = [renamed(t, {"url": "source", "title": "title"}) for t in a.get("trailers", [])]
    out["endingThemes"] = [{"title": t["title"]} for t in a.get("ending_themes", [])]
    out["streamingSources"] = [{"platform": s["platform"], "source": s["url"],
                                "subtitleLanguages": s["subtitle_languages"]} for s in a.get("streaming_info", [])]
    production = (a.get("staff_data") or {}).get("production_staff") or {}
    out["staffData"] = {"productionStaff": {"roles": {
        role: {"items": [staff(m) for m in members]} for role, members in production.items()}}}
    out["statistics"] = {site: statistics(s) for site, s in a["statistics"].items() if s}
    return out


def rich_character(c):
    out = renamed(c, {"id": "id", "name": "name", "name_native": "nameNative", "description": "description",
                      "name_variations": "nameVariations", "nicknames": "nicknames", "images": "images"})
    out["roles"] = ["CHARACTER_ROLE_" + c["role"].upper()]
    sources = list(c.get("sources") or [])
    for site, number in (c.get("character_ids") or {}).items():
        if site in CHARACTER_SITES and number:  # 0 stands for none in the old model
            sources.append(CHARACTER_SITES[site].format(number))
    out["sources"] = list(dict.fromkeys(sources))
    out["voiceActors"] = [{"name": v["name"], "language": v["language"]} for v in c.get("voice_actors") or []]
    out["attributes"] = {k: str(c[k]) for k in ("gender", "age") if c.get(k)}
    return out


def rich_episode(e):
    return renamed(e, {"id": "id", "aired": "aired", "duration": "duration", "episode_number": "episodeNumber",
                       "filler": "filler", "recap": "recap", "season_number": "seasonNumber",
                       "synopsis": "synopsis", "title": "title", "title_japanese": "titleJapanese",
                       "title_romaji": "titleRomaji", "sources": "sources", "score": "score"})


@functools.cache
def rich_events(folder):
    data = json.loads((Path(folder) / "echora-enriched_28.json").read_text())
    return [{"eventId": event_id("rich-event:" + r["anime"]["id"]), "timestamp": "2026-02-01T00:00:00Z",
             "animeId": r["anime"]["id"], "anime": rich_anime(r["anime"]),
             "characters": [rich_character(c) for c in r.get("characters", [])],
             "episodes": [rich_episode(e) for e in r["episodes"]],
             "enrichmentMetadata": {"pipelineVersion": "old-model"}} for r in data["data"]]
