"""The catalogue writer's sweep: relations whose target came past them are resolved, wherever in a large table they are."""
from harness.process import eventually

# Each page of a sweep has some 10,000 relations; the anime with a target are in the first, in the third and at the end.
RELATIONS, MISSED = 25_000, (1, 22_000, 25_000)


def test_sweep_goes_through_every_page(db, streams, spawn):
    db.do(f"""
        INSERT INTO catalog.anime_relation (from_id, key, ref, type)
            SELECT lpad(to_hex(i), 32, '0')::uuid, 'SEQUEL', 'mal:anime:' || i, 'SEQUEL' FROM generate_series(1, {RELATIONS}) AS i;
        INSERT INTO catalog.anime_xref (ref, anime_id)
            SELECT 'mal:anime:' || i, gen_random_uuid() FROM unnest(ARRAY{list(MISSED)}) AS i""")
    spawn("catalogue")
    eventually(lambda: db.one("SELECT count(*) FROM catalog.anime_relation WHERE to_id IS NOT NULL") == len(MISSED), 20,
               "all resolved")
    resolved = db.all("SELECT ref, to_id, from_id FROM catalog.anime_relation WHERE to_id IS NOT NULL")
    assert {ref for ref, _, _ in resolved} == {f"mal:anime:{i}" for i in MISSED}
    edges = set(db.all("SELECT from_id, edge_type, to_id FROM catalog.graph_edge"))
    assert edges == {edge for _, to, start in resolved for edge in ((start, "sequel", to), (to, "prequel", start))}
