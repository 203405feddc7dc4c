"""Requests under an Idempotency-Key, as the Command API sends them to those who answer."""
import hashlib


def key_hash(key):
    return hashlib.sha256(key.encode()).hexdigest()


def once_headers(key, token=1):
    return {"Echora-Idem": f"{key_hash(key)}:{token}"}


def plans(db):
    return db.one("SELECT count(*) FROM ops.replay_plan")


def kept(db):
    """Key → (token, status) of the replies that are kept."""
    return {key: (token, status) for key, token, status in
            db.all("SELECT encode(key, 'hex'), token, status FROM ops.kept_reply")}
