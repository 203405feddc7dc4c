"""Our verifier of tokens against the attacks of RFC 8725 and against forged signatures, one test for each."""
import json
import random
import re

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from harness.tokens import (AUDIENCE, CLIENTS, ISSUER, NOW, P256_ORDER, Ec, Ed, Refused, Rsa, Tool, b64, header,
                            jti_hash, jwks, number, packed, payload, rs, short, token)

pytestmark = pytest.mark.one_nats

RSA, EC = Rsa(), Ec()
KEYS = jwks(RSA.jwk("k1"), EC.jwk("k2"))


def ec_token(claims=None, sign=None, **head):
    return token(EC, header(EC, kid="k2", **head), claims, sign)


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    one = Tool(tmp_path_factory.mktemp("tokens"))
    one.keys(KEYS)
    yield one
    one.close()


@pytest.fixture
def make_tool(tmp_path):
    made = []

    def make(keys=KEYS, **more):
        made.append(Tool(tmp_path, **more))
        made[-1].keys(keys)
        return made[-1]
    yield make
    for one in made:
        one.close()


# Right ones -------------------------------------------------------------------------------------------------------

def test_right_tokens(tool):
    for text in (token(RSA), ec_token()):
        assert tool.caller(text) == ("ok", {"client": "n8n", "sub": "service-n8n", "scopes": 3, "limits": [300, 60, 60],
                                            "jti": jti_hash("3c0f")})


@pytest.mark.parametrize("changes", [
    {"aud": [AUDIENCE]}, {"aud": ["other", AUDIENCE]}, {"scope": ["workflow.read", "workflow.execute"]},
    {"client_id": None, "azp": "n8n"}, {"azp": "n8n"}, {"nbf": NOW}, {"nbf": NOW + 60},
    {"iat": NOW + 60, "exp": NOW + 61},
    {"iat": NOW - 600, "exp": NOW - 59}, {"iat": NOW - 3000, "exp": NOW + 600}, {"cnf": {"x": 1}, "acr": "0"},
])
def test_right_claims(tool, changes):
    assert tool.caller(ec_token(payload(**changes)))[1]["scopes"] == 3


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_right_types(tool, typ):
    assert tool.verify(ec_token(typ=typ)) == "ok"


def test_scopes_are_those_of_token_and_table(tool):
    every = "workflow.read workflow.execute workflow.approve"
    assert tool.caller(ec_token(payload(scope=every)))[1]["scopes"] == 3
    desk = tool.caller(ec_token(payload(scope=every, client_id="desk")))[1]
    assert (desk["scopes"], desk["limits"], desk["client"]) == (5, [900, 60, 7], "desk")
    for scope in (None, "", "  ", "workflow", "workflow.readx", "WORKFLOW.READ", "openid email", [],
                  ["workflow.read "]):
        assert tool.caller(ec_token(payload(scope=scope)))[1]["scopes"] == 0, scope


def test_what_is_optional(tool):
    caller = tool.caller(ec_token(payload(sub=None, jti=None)))[1]
    assert (caller["sub"], caller["jti"]) == ("", "")


# RFC 8725, 2.1 and 3.1: algorithms ----------------------------------------------------------------------------------

def public_forms(key):
    public = key.private.public_key()
    kinds = serialization.PublicFormat
    yield public.public_bytes(serialization.Encoding.PEM, kinds.SubjectPublicKeyInfo)
    yield public.public_bytes(serialization.Encoding.PEM, kinds.SubjectPublicKeyInfo).rstrip()
    yield public.public_bytes(serialization.Encoding.DER, kinds.SubjectPublicKeyInfo)
    yield json.dumps(key.jwk("k1")).encode()
    yield b""


def hmac_with(secret, algorithm):
    def sign(text):
        mac = hmac.HMAC(secret, algorithm)
        mac.update(text)
        return mac.finalize()
    return sign


@pytest.mark.parametrize("alg,algorithm",
                         [("HS256", hashes.SHA256()), ("HS384", hashes.SHA384()), ("HS512", hashes.SHA512())])
def test_public_key_as_secret(tool, alg, algorithm):
    for key, kid in ((RSA, "k1"), (EC, "k2")):
        for secret in [*public_forms(key), number(RSA.n).encode(), RSA.n.to_bytes(256, "big")]:
            text = token(key, header(key, kid=kid, alg=alg), sign=hmac_with(secret or b"\0", algorithm))
            assert tool.verify(text) == "algorithm"


@pytest.mark.parametrize("alg",
                         ["none", "None", "NONE", "nOnE", "none ", "", " ", "null", None, 0, False, [], ["none"], {},
                          ["ES256"], "es256", "ES256 ", "ES256\\u0000", "ES384", "ES256K", "RS1", "RS384",
                          "RS512",
                          "rs256", "PS256", "EdDSA", "RSA1_5", "dir", "A128KW", "HS256"])
def test_algorithms_that_do_not_exist(tool, alg):
    head = {**header(EC, kid="k2"), "alg": alg}
    for sign in (lambda text: b"", EC.sign, lambda text: bytes(64)):
        assert tool.verify(token(EC, head, sign=sign)) == "algorithm"
    del head["alg"]
    assert tool.verify(token(EC, head, sign=EC.sign)) == "algorithm"


def test_a_key_is_for_one_algorithm(make_tool):
    """The RSA key signs both ways, but it is listed for one of them."""
    tool = make_tool(jwks(RSA.jwk("k1"), RSA.jwk("k3", alg="PS256"), EC.jwk("k2")),
                     algorithms="RS256,ES256,PS256,EdDSA")
    assert tool.verify(token(RSA)) == "ok"
    assert tool.verify(token(RSA, header(RSA, alg="PS256"))) == "algorithm"
    assert tool.verify(token(RSA, header(RSA, kid="k3", alg="PS256"))) == "ok"
    assert tool.verify(token(RSA, header(RSA, kid="k3"))) == "algorithm"
    for alg, kid in (("ES256", "k1"), ("RS256", "k2"), ("EdDSA", "k2"), ("PS256", "k2")):
        for key in (RSA, EC):
            assert tool.verify(token(key, header(key, kid=kid, alg=alg), sign=key.sign)) == "algorithm"


def test_algorithms_that_must_be_switched_on(make_tool):
    edwards = Ed()
    keys = jwks(edwards.jwk("k1"), RSA.jwk("k2", alg="PS256"))
    texts = [token(edwards), token(RSA, header(RSA, kid="k2", alg="PS256"))]
    assert [make_tool(keys).verify(t) for t in texts] == ["algorithm"] * 2
    tool = make_tool(keys, algorithms="EdDSA,PS256")
    assert [tool.verify(t) for t in texts] == ["ok"] * 2
    assert tool.verify(token(edwards, sign=lambda text: edwards.sign(text)[:-1])) == "signature"
    assert tool.verify(token(edwards, sign=lambda text: edwards.sign(text + b"x"))) == "signature"
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 20)  # a salt that is not of the digest's length
    head = header(RSA, kid="k2", alg="PS256")
    assert tool.verify(token(RSA, head, sign=lambda text: RSA.private.sign(text, pss, hashes.SHA256()))) == "signature"


# RFC 8725, 2.1 and 3.10: keys that the token brings -----------------------------------------------------------------

STRANGER = Rsa()


@pytest.mark.parametrize("member", [
    {"jwk": STRANGER.jwk("k1")}, {"jku": "https://attacker.example/jwks"}, {"x5u": "https://attacker.example/x"},
    {"x5c": [b64(b"certificate")]}, {"x5t": "AAAA"}, {"x5t#S256": "AAAA"}, {"keys": [STRANGER.jwk("k1")]},
])
def test_keys_in_the_header(tool, member):
    assert tool.verify(token(STRANGER, header(STRANGER, **member))) == "signature", "believed"
    assert tool.verify(token(STRANGER, header(STRANGER, kid=None, **member))) == "signature", "believed"
    assert tool.verify(token(RSA, header(RSA, **member))) == "ok", "they are passed over"


@pytest.mark.parametrize("kid",
                         ["k0", "", "K1", "k1 ", " k1", "../k1", "k1\\u0000", "' OR 1=1", "https://x",
                          "k" * 300], ids=short)
def test_unknown_key_ids(tool, kid):
    assert tool.verify(token(RSA, header(RSA, kid=kid))) == "key-unknown"


@pytest.mark.parametrize("kid", [1, [], ["k1"], {}, True])
def test_key_ids_that_are_no_text(tool, kid):
    assert tool.verify(token(RSA, header(RSA, kid=kid))) == "json"
    assert tool.verify(token(RSA, json.dumps({**header(RSA), "kid": None}))) == "json"


def test_a_strangers_key_under_a_known_id(tool):
    assert tool.verify(token(STRANGER)) == "signature"
    assert tool.verify(token(Ec(), header(EC, kid="k2"))) == "signature"
    assert tool.verify(token(EC, header(EC, kid="k1"))) == "algorithm"


def test_without_a_key_id(make_tool):
    bare = token(RSA, header(RSA, kid=None))
    assert make_tool(jwks(RSA.jwk("k1"), EC.jwk("k2"))).verify(bare) == "ok", "the only RSA key"
    assert make_tool(jwks(RSA.jwk(), EC.jwk())).verify(bare) == "ok"
    assert make_tool(jwks(RSA.jwk("k1"), STRANGER.jwk("k2"))).verify(bare) == "key-unknown"
    assert make_tool(jwks(RSA.jwk(), STRANGER.jwk())).verify(bare) == "key-unknown"
    assert make_tool(jwks(EC.jwk("k2"))).verify(bare) == "key-unknown"


# Forms ------------------------------------------------------------------------------------------------------------

def test_every_beginning_of_a_token(tool):
    text = ec_token()
    assert {tool.verify(text[:n]) for n in range(len(text))} <= {"length", "parts", "base64", "json", "signature"}


def test_sizes(tool):
    filled = lambda n: ec_token(payload(filler="x" * n))  # noqa: E731
    n = next(n for n in range(5000, 6200) if len(filled(n)) > 8192)
    assert tool.verify(filled(n - 1)) == "ok" and len(filled(n - 1)) > 8188
    assert tool.verify(filled(n)) == "length"
    assert [tool.verify(t) for t in ("", "x" * 8193, "." * 9000)] == ["length"] * 3


@pytest.mark.parametrize("change", [
    lambda t: t + ".", lambda t: "." + t, lambda t: t + "." + b64("{}"), lambda t: t.replace(".", ""),
    lambda t: t.replace(".", ". ", 1),
    lambda t: t.rsplit(".", 1)[0], lambda t: t.replace(".", "..", 1), lambda t: ".".join([*t.split("."), "a", "b"]),
])
def test_parts(tool, change):
    assert tool.verify(change(ec_token())) in ("parts", "base64")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_encodings_that_are_not_canonical(tool, part):
    """Padding, blanks, the other alphabet, bits that are left over, a length that none has."""
    def changed(change):
        parts = text.split(".")
        parts[part] = change(parts[part])
        return ".".join(parts)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    left_over = 0
    for filler in ("", "x", "xx"):  # each length modulo 3
        text = token(RSA, header(RSA, filler=filler), payload(filler=filler)) if part < 2 else ec_token()
        for more in ("=", "==", " ", "\n", "\r\n", "\t", "+", "/", "%3D", "\0", "\u00e9"):
            assert tool.verify(changed(lambda p, m=more: p + m)) == "base64"
            assert tool.verify(changed(lambda p, m=more: p[:4] + m + p[4:])) == "base64"
        if len(text.split(".")[part]) % 4:
            last = letters.index(text.split(".")[part][-1])
            for bit in range({2: 4, 3: 2}[len(text.split(".")[part]) % 4]):
                stray = letters[last | 1 << bit]
                assert tool.verify(changed(lambda p, s=stray: p[:-1] + s)) == "base64"
                left_over += 1
        while len(text.split(".")[part]) % 4 != 1:
            text = changed(lambda p: p + "A")
        assert tool.verify(text) == "base64"
    assert left_over > 0


TWICE_HEAD = ['{"alg":"RS256","alg":"none","typ":"at+jwt","kid":"k1"}',
              '{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"k1"}',
              '{"alg":"RS256","typ":"at+jwt","kid":"k1","\\u006bid":"k1"}',
              '{"alg":"RS256","typ":"at+jwt","kid":"k1","x":{"a":[{"b":1,"b":1}]}}']


@pytest.mark.parametrize("head", TWICE_HEAD)
def test_repeated_members_of_the_header(tool, head):
    assert tool.verify(token(RSA, head)) == "json"


@pytest.mark.parametrize("more", ['"scope":"workflow.read"', '"exp":9999999999', '"sco\\u0070e":"workflow.approve"',
                                  '"x":{"y":{"z":1,"z":2}}', '"x":[[{"z":1,"z":1}]]'])
def test_repeated_members_of_the_payload(tool, more):
    text = json.dumps(payload())[:-1] + "," + more + "}"
    assert tool.verify(token(RSA, claims=text)) == "json"


@pytest.mark.parametrize("text",
                         [b"", b"[]", b'""', b"null", b"1", b"{", b"{}{}", b"{} x", b"\xef\xbb\xbf{}", b'{"a":"\xff"}',
                          b"[" * 5000,
                          b'{"a":"\\u0000"}', b'{"a":"\0"}', b"{'a':1}", b'{"a":NaN}', b'{"a":1,}', b'{"a":01}',
                          b"\0"], ids=short)
def test_what_is_no_object(tool, text):
    assert tool.verify(token(RSA, claims=text)) == "json"
    assert tool.verify(token(RSA, text, sign=RSA.sign)) == "json"


@pytest.mark.parametrize("name", ["crit", "b64", "zip"])
@pytest.mark.parametrize("value", [["exp"], [], True, False, "DEF", None, {}])
def test_extensions(tool, name, value):
    head = json.dumps({**header(RSA), name: value})
    assert tool.verify(token(RSA, head)) == "extension"


@pytest.mark.parametrize("typ",
                         [None, "", "JWT", "jwt", "at+jwt ", "at+jwtx", "application/",
                          "application/application/at+jwt",
                          "logout+jwt", "id+jwt", 1, ["at+jwt"]])
def test_types(tool, make_tool, typ):
    head = header(EC, kid="k2", typ=typ)
    assert tool.verify(token(EC, head)) == "type"
    expected = "ok" if str(typ).lower() == "jwt" else "type"
    assert make_tool(typ_jwt=True).verify(token(EC, head)) == expected


# Claims -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("iss",
                         [None, "", ISSUER + "/", ISSUER[:-1], ISSUER.upper(), " " + ISSUER, "http" + ISSUER[5:], 1,
                          [ISSUER], True])
def test_issuers(tool, iss):
    assert tool.verify(ec_token(payload(iss=iss))) == "issuer"


@pytest.mark.parametrize("aud",
                         [None, "", AUDIENCE + "x", AUDIENCE[:-1], AUDIENCE.upper(), "other " + AUDIENCE, [], ["other"],
                          [[AUDIENCE]],
                          [AUDIENCE, 1], {"a": AUDIENCE}, 1, True])
def test_audiences(tool, aud):
    assert tool.verify(ec_token(payload(aud=aud))) == "audience"


@pytest.mark.parametrize("changes,reason", [
    ({"exp": None}, "times"), ({"iat": None}, "times"), ({"exp": str(NOW + 60)}, "times"),
    ({"exp": NOW + 0.5}, "times"),
    ({"exp": float(NOW + 60)}, "times"), ({"iat": float(NOW)}, "times"), ({"nbf": "0"}, "times"),
    ({"nbf": 1.0}, "times"),
    ({"exp": -1}, "times"), ({"iat": -1}, "times"), ({"nbf": -1}, "times"), ({"exp": True}, "times"),
    ({"exp": [NOW + 60]}, "times"),
    ({"exp": 2**62}, "times"), ({"iat": NOW - 3000, "exp": NOW + 601}, "times"), ({"iat": NOW, "exp": NOW}, "times"),
    ({"iat": NOW + 5, "exp": NOW + 1}, "times"), ({"iat": 0}, "times"),
    ({"exp": NOW - 60, "iat": NOW - 600}, "expired"), ({"exp": NOW - 61, "iat": NOW - 100}, "expired"),
    ({"iat": 0, "exp": 1}, "expired"),
    ({"iat": NOW + 61, "exp": NOW + 100}, "early"), ({"nbf": NOW + 61}, "early"), ({"nbf": 253402300799}, "early"),
])
def test_times(tool, changes, reason):
    assert tool.verify(ec_token(payload(**changes))) == reason


@pytest.mark.parametrize("literal",
                         ["1e999", "1E3", "99999999999999999999", "-99999999999999999999", "1800000600.0", "null"])
def test_numbers_that_are_no_times(tool, literal):
    text = json.dumps(payload()).replace(f'"exp": {NOW + 600}', f'"exp": {literal}')
    assert tool.verify(token(RSA, claims=text)) in ("times", "json")


@pytest.mark.parametrize("changes", [
    {"client_id": None}, {"client_id": "n8n "}, {"client_id": "N8N"}, {"client_id": "stranger"}, {"client_id": ""},
    {"client_id": ["n8n"]},
    {"client_id": 1}, {"client_id": None, "azp": "stranger"}, {"azp": "desk"}, {"azp": ["n8n"]},
    {"client_id": "n8n" + "n" * 200},
])
def test_clients(tool, changes):
    assert tool.verify(ec_token(payload(**changes))) == "client"


@pytest.mark.parametrize("changes",
                         [{"scope": 1}, {"scope": {}}, {"scope": ["workflow.read", 1]}, {"scope": True}, {"sub": 1},
                          {"sub": "s" * 256},
                          {"jti": 1}, {"jti": ["a"]}])
def test_claims_of_a_wrong_type(tool, changes):
    assert tool.verify(ec_token(payload(**changes))) == "claims"


DEFECTS = [{"iss": "https://other.example"}, {"aud": "other"}, {"exp": NOW - 100, "iat": NOW - 200}, {"nbf": NOW + 500},
           {"client_id": "stranger"},
           {"sub": 5}, {"exp": NOW + 7200}]


def test_defects_come_together(tool):
    """Whatever else is right or wrong, one defect is enough."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(150):
        chosen = rng.sample(DEFECTS, rng.randrange(3))
        claims = payload()
        for defect in chosen:
            claims.update(defect)
        forged, stranger = rng.random() < 0.2, rng.random() < 0.2
        text = ec_token(claims, sign=(lambda t: bytes(64)) if forged else Ec().sign if stranger else None)
        assert (tool.verify(text) == "ok") == (not chosen and not forged and not stranger), (chosen, forged, stranger)


# Signatures -------------------------------------------------------------------------------------------------------

def test_every_flipped_bit(tool):
    for text in (ec_token(), token(RSA)):
        data = text.encode()
        for at in range(len(data)):
            for bit in range(8) if at % 5 == 0 else (at % 8,):
                changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1:]
                assert tool.verify(changed) != "ok", (at, bit)


def test_every_flipped_bit_of_a_signature(tool):
    for key, kid in ((EC, "k2"), (RSA, "k1")):
        text = f"{packed(header(key, kid=kid))}.{packed(payload())}"
        good = key.sign(text.encode())
        for bit in range(len(good) * 8):
            bad = bytes(b ^ (1 << bit % 8 if bit // 8 == i else 0) for i, b in enumerate(good))
            assert tool.verify(f"{text}.{b64(bad)}") == "signature", bit


@pytest.mark.parametrize("n", [0, 1, 32, 62, 63, 65, 66, 70, 71, 72, 96, 128, 256, 1024])
def test_es256_of_another_length(tool, n):
    assert tool.verify(ec_token(sign=lambda text: (EC.sign(text) * 20)[:n])) == "signature"
    assert tool.verify(ec_token(sign=lambda text: bytes(max(0, n - 64)) + EC.sign(text)[:n])) == "signature"


def test_es256_in_der(tool):
    for _ in range(20):  # 70 to 72 bytes
        assert tool.verify(ec_token(sign=EC.der)) == "signature"


N = P256_ORDER
ODD = [0, 1, 2, N - 1, N, N + 1, 2**256 - 1, 2**255]


@pytest.mark.parametrize("r", ODD)
@pytest.mark.parametrize("s", ODD)
def test_es256_numbers_out_of_range(tool, r, s):
    """Psychic signatures (0, 0) among them."""
    assert tool.verify(ec_token(sign=lambda text: rs(r, s))) == "signature"


def test_es256_with_one_number_changed(tool):
    for change in (lambda r, s: (r, 0), lambda r, s: (0, s), lambda r, s: (N - r, s), lambda r, s: (s, r),
                   lambda r, s: (r, N),
                   lambda r, s: (r, r), lambda r, s: (N, s)):
        def sign(text, change=change):
            good = EC.sign(text)
            return rs(*change(int.from_bytes(good[:32], "big"), int.from_bytes(good[32:], "big")))
        assert tool.verify(ec_token(sign=sign)) == "signature"


def test_es256_numbers_with_leading_zeros(tool):
    """Small r and s, whose DER form is shorter, and those whose highest bit is set: all must be read."""
    shortest = longest = 0
    while not (shortest and longest):
        text = ec_token(payload(jti=str(random.random())))
        signature = EC.sign(text.rsplit(".", 1)[0].encode())
        assert tool.verify(text.rsplit(".", 1)[0] + "." + b64(signature)) == "ok"
        shortest += signature[0] == 0 or signature[32] == 0
        longest += signature[0] >= 128 and signature[32] >= 128


def test_es256_of_a_chosen_nonce(tool):
    """r begins with zeros when the nonce is chosen so; the library would take long to come upon it."""
    for k in (1, 2, 3, N - 1, 0x2f, 2**200 + 7):
        r = ec.derive_private_key(k, ec.SECP256R1()).public_key().public_numbers().x % N

        def sign(text, r=r, k=k):
            digest = hashes.Hash(hashes.SHA256())
            digest.update(text)
            e = int.from_bytes(digest.finalize(), "big")
            return rs(r, pow(k, -1, N) * (e + r * EC.d) % N)
        assert tool.verify(ec_token(sign=sign)) == "ok", k


@pytest.mark.parametrize("secret", [1, 2, 3, N - 1, N // 2, 2**128, 2**255 + 1])
def test_es256_with_special_keys(make_tool, secret):
    key = Ec(secret)
    tool = make_tool(jwks(key.jwk("k1")))
    assert [tool.verify(token(key)) for _ in range(5)] == ["ok"] * 5
    assert tool.verify(token(EC, header(EC))) == "signature"


@pytest.mark.parametrize("s", [1, 2, 255, N // 2, N - 2, N - 1])
@pytest.mark.parametrize("k", [1, 2, N - 1])
def test_es256_with_special_numbers(make_tool, k, s):
    """The key is made to the signature: r is that of a chosen nonce, s is chosen."""
    text = f"{packed(header(EC))}.{packed(payload())}"
    r = Ec(k).point.x % N
    key = Ec((s * k - int.from_bytes(sha256(text.encode()), "big")) * pow(r, -1, N) % N)
    tool = make_tool(jwks(key.jwk("k1")))
    assert tool.verify(f"{text}.{b64(rs(r, s))}") == "ok"
    assert tool.verify(f"{text}.{b64(rs(r, N - s))}") == "ok", "its twin says the same of the same text"
    assert tool.verify(f"{text}.{b64(rs(r, (s + 7) % N))}") == "signature"
    if r + N < 2**256:
        assert tool.verify(f"{text}.{b64(rs(r + N, s))}") == "signature"
    if s + N < 2**256:
        assert tool.verify(f"{text}.{b64(rs(r, s + N))}") == "signature"


def test_rs256_with_leading_zeros(tool):
    for n in range(10000):
        text = f"{packed(header(RSA))}.{packed(payload(jti=str(n)))}"
        signature = RSA.sign(text.encode())
        if signature[0] == 0:
            break
    assert signature[0] == 0 and tool.verify(f"{text}.{b64(signature)}") == "ok"
    assert tool.verify(f"{text}.{b64(signature[1:])}") == "signature"


DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def sha256(text, algorithm=None):
    digest = hashes.Hash(algorithm or hashes.SHA256())
    digest.update(text)
    return digest.finalize()


def block(content, size, fill=b"\xff", kind=b"\x00\x01"):
    return kind + fill * (size - 3 - len(content)) + b"\x00" + content


SHORT = b"\x00\x01" + b"\xff" * 8 + b"\x00"  # the least padding, far from the end of the block


def info(text):
    return lambda h: bytes.fromhex(text) + h


def short_and_fitted(h, n):
    """The garbage behind the hash lies inside of the structure's stated length."""
    return SHORT + b"\x30\x82" + (n - 15).to_bytes(2, "big") + DIGEST_INFO[2:] + h + b"\x5a" * (n - 64)


FORGED_INFOS = {
    "no digest info": info(""),
    "no NULL": info("302f300b0609608648016503040201" + "0420"),
    "NULL with content": info("3033300f060960864801650304020105020000" + "0420"),
    "length in the long form": info("308131300d060960864801650304020105000420"),
    "indefinite length": lambda h: bytes.fromhex("3080300d060960864801650304020105000420") + h + b"\0\0",
    "SHA-1 named": info("302d300906052b0e03021a05000420"),
    "SHA-512 named": info("3031300d060960864801650304020305000420"),
    "garbage behind the hash": lambda h: DIGEST_INFO + h + b"\xde\xad\xbe\xef",
    "two separators": lambda h: b"\x00" + DIGEST_INFO + h,
    "hash cut": lambda h: DIGEST_INFO + h[:-1],
    "hash cut, length fitted": lambda h: bytes.fromhex("3030300d06096086480165030402010500041f") + h[:-1],
    "hash flipped": lambda h: DIGEST_INFO + bytes([h[0] ^ 1]) + h[1:],
}
FORGED_BLOCKS = {
    **{name: lambda h, n, make=make: block(make(h), n) for name, make in FORGED_INFOS.items()},
    "garbage instead of padding": lambda h, n: SHORT + DIGEST_INFO + h + b"\x5a" * (n - 62),
    "garbage, length fitted": short_and_fitted,
    "zeros as padding": lambda h, n: block(DIGEST_INFO + h, n, fill=b"\x00"),
    "another byte in the padding": lambda h, n: SHORT[:-1] + b"\xfe" + block(DIGEST_INFO + h, n)[11:],
    "block type 0": lambda h, n: block(DIGEST_INFO + h, n, kind=b"\x00\x00"),
    "block type 2": lambda h, n: block(DIGEST_INFO + h, n, kind=b"\x00\x02"),
    "no separator": lambda h, n: b"\x00\x01" + (DIGEST_INFO + h).rjust(n - 2, b"\xff"),
    "hash alone": lambda h, n: h.rjust(n, b"\0"),
}


@pytest.mark.parametrize("name", FORGED_BLOCKS)
def test_rs256_blocks(tool, name):
    """Signed with the right key, so that nothing but the check of the block can refuse them."""
    assert tool.verify(token(RSA,
                             sign=lambda t: RSA.raw(block(DIGEST_INFO + sha256(t),
                                                          RSA.size)))) == "ok", "the way they are made"
    assert tool.verify(token(RSA, sign=lambda t: RSA.raw(FORGED_BLOCKS[name](sha256(t), RSA.size)))) == "signature"


@pytest.mark.parametrize("value", [lambda n: 0, lambda n: 1, lambda n: 2, lambda n: n - 1, lambda n: n, lambda n: n + 1,
                                   lambda n: 2**2048 - 1])
def test_rs256_special_values(tool, value):
    assert tool.verify(token(RSA, sign=lambda text: value(RSA.n).to_bytes(256, "big"))) == "signature"


def test_rs256_of_another_length(tool):
    for change in (lambda s: s[:-1], lambda s: s[1:], lambda s: b"\0" + s, lambda s: s + b"\0", lambda s: b"",
                   lambda s: s * 2, lambda s: s * 4,
                   lambda s: (int.from_bytes(s, "big") + RSA.n).to_bytes(257, "big")):
        assert tool.verify(token(RSA, sign=lambda text, c=change: c(RSA.sign(text)))) == "signature"
    assert tool.verify(token(RSA, sign=lambda text: bytes(1025))) == "base64", "longer than any key's"


def test_rs256_with_other_digests(tool):
    for algorithm in (hashes.SHA384(), hashes.SHA512(), hashes.SHA224()):
        assert tool.verify(token(RSA, sign=lambda t,
                                 a=algorithm: RSA.private.sign(t, padding.PKCS1v15(), a))) == "signature"


def cube_root(value):
    low, high = 0, 1 << (value.bit_length() // 3 + 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**3 < value else (low, middle)
    return low


def test_rs256_forged_for_exponent_3(make_tool):
    """Bleichenbacher's forgery needs no private key, but an exponent that no key of ours has."""
    weak = Rsa(exponent=3)
    tool = make_tool(jwks(weak.jwk("k1"), EC.jwk("k2")))

    def forge(text):
        start = b"\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00" + DIGEST_INFO + sha256(text)
        return cube_root(int.from_bytes(start.ljust(weak.size, b"\0"), "big")).to_bytes(weak.size, "big")
    assert tool.verify(token(weak, sign=forge)) == "key-unknown"
    assert tool.verify(token(weak)) == "key-unknown"
    with pytest.raises(Refused, match="bad-keys .*exponent below 65537"):
        tool.keys(jwks(weak.jwk("k1")))


@pytest.mark.parametrize("bits", [2048, 2056, 3072, 4096])
def test_rsa_sizes(make_tool, bits):
    key = Rsa(bits)
    tool = make_tool(jwks(key.jwk("k1")))
    assert tool.verify(token(key)) == "ok"
    assert tool.verify(token(key, sign=lambda text: key.sign(text + b"x"))) == "signature"


# Key sets ---------------------------------------------------------------------------------------------------------

SMALL = Rsa(1024)
OFF = {**EC.jwk("x"), "y": number(EC.point.y ^ 1, 32)}


@pytest.mark.parametrize("jwk,what", [
    (SMALL.jwk("x"), "below 2048"), ({**RSA.jwk("x"), "n": number(RSA.n >> 1)}, "below 2048"),
    (Rsa(2048, 3).jwk("x"), "exponent"),
    ({**RSA.jwk("x"), "e": "AQ"}, "exponent"), ({**RSA.jwk("x"), "e": number(65538)}, "exponent"),
    ({**RSA.jwk("x"), "e": "AQAB="}, "exponent"),
    ({**RSA.jwk("x"), "e": ""}, "exponent"), ({**RSA.jwk("x"), "n": RSA.jwk()["n"] + "="}, "modulus"),
    ({**RSA.jwk("x"), "n": 5}, "modulus"),
    ({k: v for k, v in RSA.jwk("x").items() if k != "n"}, "modulus"),
    ({**RSA.jwk("x"), "n": number(2**9000 + 1)}, "modulus"),
    ({**RSA.jwk("x"), "n": number(2**2048 - 2)}, "small factor"),
    ({**RSA.jwk("x"), "n": number(1021 * (2**2040 + 1))}, "small factor"), (OFF, "no point"),
    ({**EC.jwk("x"), "x": number(0, 32), "y": number(0, 32)}, "no point"),
    ({**EC.jwk("x"), "x": b64(bytes(31))}, "no point"),
    ({**EC.jwk("x"), "y": b64(b"\0" + EC.point.y.to_bytes(32, "big"))}, "no point"),
    ({k: v for k, v in EC.jwk("x").items() if k != "y"}, "no point"),
    ({**RSA.jwk("x"), "d": number(RSA.d)}, "private part"),
    ({**EC.jwk("x"), "d": number(EC.d)}, "private part"), ({**Ed().jwk("x"), "x": b64(bytes(31))}, "Ed25519"),
    ({**EC.jwk("x"), "x": number(EC.point.x + (2**256 - 2**224 + 2**192 + 2**96 - 1), 33)}, "no point"),
])
def test_keys_that_are_refused(make_tool, jwk, what):
    tool = make_tool(jwks(jwk, RSA.jwk("k1")))
    assert tool.keys(jwks(jwk, RSA.jwk("k1"))) == (1, 0, 1)
    assert tool.verify(token(RSA)) == "ok", "the others serve"
    with pytest.raises(Refused, match=f"bad-keys .*{what}"):
        tool.keys(jwks(jwk))
    assert tool.verify(token(RSA)) == "ok", "those of before stay"


# p, and (3p - 1) / 2 is prime too: about the product OpenSSL's check of public keys draws lots.
HALF_SURE = int("f788bddb6f9be329ce771726c97da7f4ecd9f489c8cee54934d1e6bd59fe5c2298a1611a7e673424507c8727a3c78b91f69d"
                "ea00068fe8c9f7720e56ec0cb3a7c860649ea81c36f3a78797d2dbb8ecc44dde91646adf901a99ef10dc09a0732315da1045"
                "7d2c8ce761d87c920f95760df86982a78c026a8b7ab6011dfdba7595", 16)


def test_a_key_is_judged_the_same_each_time(make_tool):
    jwk = {**RSA.jwk("x"), "n": number(HALF_SURE * ((3 * HALF_SURE - 1) // 2))}
    tool = make_tool()
    assert len({tool.keys(jwks(jwk, EC.jwk("k2"))) for _ in range(50)}) == 1


@pytest.mark.parametrize("jwk", [
    {"kty": "oct", "k": b64(b"secret"), "kid": "k1"}, {"kty": "oct", "k": "", "kid": "k1", "alg": "RS256"},
    {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": "secp256k1", "x": "AA"}, {"kty": "OKP", "crv": "X25519", "x": "AA"}, {"kty": "AKP"}, {},
    {"kty": 5}, {"kty": "rsa"},
    RSA.jwk("k1", use="enc"), RSA.jwk("k1", use=""), RSA.jwk("k1", use=["sig"]), RSA.jwk("k1", key_ops=["sign"]),
    RSA.jwk("k1", key_ops=[]),
    RSA.jwk("k1", key_ops="verify"), RSA.jwk("k1", alg="RS512"), RSA.jwk("k1", alg="ES256"), RSA.jwk("k1", alg="HS256"),
    RSA.jwk("k1", alg="none"),
    RSA.jwk("k1", alg="RSA-OAEP"), RSA.jwk("k1", alg=5), EC.jwk("k1", alg="ES512"), EC.jwk("k1", alg="ECDH-ES"),
])
def test_keys_that_are_skipped(make_tool, jwk):
    tool = make_tool()
    assert tool.keys(jwks(jwk, EC.jwk("k2"))) == (1, 1, 0)
    assert tool.verify(token(RSA)) == "key-unknown"
    with pytest.raises(Refused, match="no key to verify"):
        tool.keys(jwks(jwk))


def test_keys_with_marks_that_fit(make_tool):
    tool = make_tool(jwks(RSA.jwk("k1", alg="RS256", use="sig", key_ops=["verify", "sign"], x5c=["AA"],
                                  anything={"a": 1}), EC.jwk("k2", alg="ES256")))
    assert [tool.verify(token(RSA)), tool.verify(ec_token())] == ["ok", "ok"]


@pytest.mark.parametrize("text,what", [
    (jwks(RSA.jwk("k1"), EC.jwk("k1")), "same kid"), (jwks(RSA.jwk("k1"), RSA.jwk("k1")), "same kid"),
    (jwks(OFF, {**EC.jwk("x")}), "same kid"),
    (jwks(EC.jwk("x"), OFF), "same kid"), (jwks(EC.jwk(5)), "kid is no text"), (jwks(EC.jwk("")), "kid is no text"),
    (jwks(EC.jwk("x" * 256)), "kid is no text"),
    (jwks(), "no key"), ('{"keys":[1]}', "no object"), ('{"keys":[null]}', "no object"),
    ('{"keys":{}}', "no JSON object"), ("[]", "no JSON object"),
    ("", "no JSON object"), ("null", "no JSON object"), ("<html>", "no JSON object"),
    (jwks(EC.jwk("k"))[:-1], "no JSON object"),
    (jwks(EC.jwk("k")) + "x", "no JSON object"), ('{"keys":[],"keys":[]}', "no JSON object"),
    (jwks(EC.jwk("k")).replace('"kid"', '"x":1,"x":2,"kid"'), "no JSON object"),
    (jwks(*[EC.jwk(str(i)) for i in range(33)]), "more than 32"),
    (jwks(EC.jwk("k", filler="x" * 66000)), "more than 64"), ("[" * 60000, "no JSON object"),
], ids=short)
def test_sets_that_are_refused(tool, text, what):
    with pytest.raises(Refused, match=f"bad-keys .*{what}"):
        tool.keys(text)
    assert tool.verify(token(RSA)) == "ok", "those of before stay"


def test_as_many_keys_as_there_may_be(make_tool):
    keys = [Ec() for _ in range(32)]
    tool = make_tool(jwks(*[key.jwk(f"k{i}") for i, key in enumerate(keys)]))
    assert all(tool.verify(token(key, header(key, kid=f"k{i}"))) == "ok" for i, key in enumerate(keys))


# Client table -----------------------------------------------------------------------------------------------------

def one_client(**changes):
    row = {"id": "n8n", "scopes": ["workflow.read"], **changes}
    return {"clients": [{k: v for k, v in row.items() if v is not None}]}


@pytest.mark.parametrize("table,what", [
    ("", "no JSON"), ("[]", "no object with a list"), ("{}", "no object with a list"),
    ('{"clients":[],"x":1}', "no object with a list"),
    ('{"clients":[],"clients":[]}', "stands there twice"), ({"clients": {}}, "no object with a list"),
    ({"clients": [1]}, "client 1: a client has"),
    (one_client(id=None), "client 1: id"), (one_client(id=""), "client 1: id"), (one_client(id="a b"), "client 1: id"),
    (one_client(id="x" * 129), "client 1: id"),
    (one_client(id=1), "client 1: id"), (one_client(scopes=None), "client 1: scopes is no list"),
    (one_client(scopes="workflow.read"), "client 1: scopes is no list"),
    (one_client(scopes=["read"]), "client 1: scopes are"), (one_client(scopes=[1]), "client 1: scopes are"),
    (one_client(scopes=["workflow.read"] * 2), "client 1: scopes are"),
    (one_client(scope=[]), "client 1: a client has"),
    (one_client(limits=[]), "client 1: limits has"), (one_client(limits={"write": 1}), "client 1: limits has"),
    (one_client(limits={"read": 0}), "client 1: a limit"), (one_client(limits={"read": 1.5}), "client 1: a limit"),
    (one_client(limits={"read": "9"}), "client 1: a limit"),
    (one_client(limits={"approve": 10**7}), "client 1: a limit"),
    ({"clients": [*CLIENTS["clients"], CLIENTS["clients"][0]]}, "client 3: its id stands there twice"),
    ({"clients": [{"id": f"c{i}", "scopes": []} for i in range(257)]}, "more than 256"),
    (" " * 66000, "the limit|bytes|larger|maximum"),
], ids=short)
def test_client_tables_that_are_refused(tmp_path, table, what):
    tool = Tool(tmp_path, clients=table)
    line = tool.process.stdout.readline().decode()
    assert line.startswith("err ") and tool.process.wait(20) == 1
    assert re.search(what, line), line
