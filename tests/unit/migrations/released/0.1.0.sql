BEGIN TRANSACTION;
CREATE TABLE alerts (
    id          TEXT PRIMARY KEY,
    rule        TEXT NOT NULL,
    subject     TEXT NOT NULL,                -- session, or '' for the appliance
    phase       TEXT NOT NULL,
    state       TEXT NOT NULL,                -- JSON of the whole state
    ended_at    REAL
);
INSERT INTO "alerts" VALUES('alerts.id','alerts.rule','alerts.subject','alerts.phase','{}',1.5);
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      REAL NOT NULL,
    who     TEXT NOT NULL,
    door    TEXT NOT NULL,
    address TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL DEFAULT '',         -- the path that was called
    session TEXT,
    status  INTEGER NOT NULL,                 -- 0: there was no answer
    detail  TEXT NOT NULL DEFAULT '',
    count   INTEGER NOT NULL DEFAULT 1        -- of what came so often that it shares one row
);
INSERT INTO "audit" VALUES(1,1.5,'audit.who','audit.door','audit.address','audit.action','audit.target','audit.session',1,'audit.detail',1);
CREATE TABLE deliveries (                     -- what is to be told; rows go when told or given up
    id         TEXT PRIMARY KEY,
    session    TEXT NOT NULL DEFAULT '',      -- whose person it is for; '' is the operators
    target     TEXT NOT NULL,                 -- a secret
    body       TEXT NOT NULL,                 -- JSON
    created_at REAL NOT NULL,
    due_at     REAL NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    error      TEXT NOT NULL DEFAULT ''
);
INSERT INTO "deliveries" VALUES('deliveries.id','deliveries.session','deliveries.target','{}',1.5,1.5,1,'deliveries.error');
CREATE TABLE disconnections (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    session      TEXT NOT NULL,
    generation   INTEGER NOT NULL,
    at           REAL NOT NULL,
    reason       TEXT NOT NULL,               -- word of the reason enum
    signal       TEXT NOT NULL DEFAULT '',    -- what the engine or the process did
    code         INTEGER,
    raw          TEXT NOT NULL DEFAULT '',
    connected_at REAL,                        -- since when it had been up; NULL if it never was
    decision     TEXT NOT NULL DEFAULT '',
    charged      INTEGER NOT NULL DEFAULT 0,  -- counted against the hourly budget
    back_at      REAL
, uptime_s REAL, recovery_s REAL, engine TEXT NOT NULL DEFAULT '', whatsapp TEXT NOT NULL DEFAULT '');
INSERT INTO "disconnections" VALUES(1,'disconnections.session',1,1.5,'disconnections.reason','disconnections.signal',1,'disconnections.raw',1.5,'disconnections.decision',1,1.5,1.5,1.5,'disconnections.engine','disconnections.whatsapp');
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      REAL NOT NULL,
    type    TEXT NOT NULL,
    session TEXT,
    data    TEXT NOT NULL
);
INSERT INTO "events" VALUES(1,1.5,'events.type','events.session','{}');
CREATE TABLE media (
    id         TEXT PRIMARY KEY,
    session    TEXT NOT NULL,
    category   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    mimetype   TEXT NOT NULL,
    size       INTEGER NOT NULL,              -- as downloaded
    sha256     TEXT NOT NULL,
    key        TEXT NOT NULL REFERENCES objects (key),
    message_id TEXT NOT NULL,
    chat       TEXT NOT NULL,
    sender     TEXT NOT NULL,
    sent_at    REAL NOT NULL,
    captured_at REAL NOT NULL,
    stored_at  REAL NOT NULL,
    caption    TEXT NOT NULL DEFAULT '',
    file_name  TEXT NOT NULL DEFAULT '',
    via        TEXT NOT NULL DEFAULT 'payload', pinned INTEGER NOT NULL DEFAULT 0,
    UNIQUE (session, category, message_id, sha256)
);
INSERT INTO "media" VALUES('media.id','media.session','media.category','media.kind','media.mimetype',1,'media.sha256','statuses/s/1','media.message_id','media.chat','media.sender',1.5,1.5,1.5,'media.caption','media.file_name','media.via',1);
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('meta.key','meta.value');
CREATE TABLE moved_objects (                  -- copied to another store and compared, while all media moves there
    key     TEXT NOT NULL,
    target  TEXT NOT NULL,
    PRIMARY KEY (key, target)
) WITHOUT ROWID;
INSERT INTO "moved_objects" VALUES('moved_objects.key','moved_objects.target');
CREATE TABLE objects (                        -- what lies in the object store; stored once per session and content
    key        TEXT PRIMARY KEY,
    session    TEXT NOT NULL,
    sha256     TEXT NOT NULL,                 -- of the bytes as they were downloaded
    size       INTEGER NOT NULL,              -- as stored
    stored_at  REAL NOT NULL, refs INTEGER NOT NULL DEFAULT 0, pins INTEGER NOT NULL DEFAULT 0, newest_at REAL NOT NULL DEFAULT 0, original_size INTEGER NOT NULL DEFAULT 0, stored_sha256 TEXT NOT NULL DEFAULT '', treatment TEXT NOT NULL DEFAULT 'original', category TEXT AS (substr(key, 1, instr(key, '/') - 1)) VIRTUAL,
    UNIQUE (session, sha256)
);
INSERT INTO "objects" VALUES('statuses/s/1','objects.session','objects.sha256',1,1.5,2,2,1.5,1,'objects.stored_sha256','objects.treatment');
CREATE TABLE pairing_fences (                 -- the newest attempt that was let to work on a session or a number
    name  TEXT PRIMARY KEY,                   -- session:… or phone:…
    fence INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "pairing_fences" VALUES('pairing_fences.name',1);
CREATE TABLE pairings (                       -- no code is stored: it would be a secret that outlives its use
    id         TEXT PRIMARY KEY,
    session    TEXT NOT NULL,
    method     TEXT NOT NULL,
    state      TEXT NOT NULL,
    phone      TEXT,
    relink     INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    started_at REAL,
    shown_at   REAL,
    accepted_at REAL,
    ended_at   REAL,
    reason     TEXT,
    remedy     TEXT
, tries INTEGER NOT NULL DEFAULT 1);
INSERT INTO "pairings" VALUES('pairings.id','pairings.session','pairings.method','{}','pairings.phone',1,1.5,1.5,1.5,1.5,1.5,1.5,'pairings.reason','pairings.remedy',1);
CREATE TABLE pending_objects (                -- may or may not lie in the store; counts as if it did
    key     TEXT PRIMARY KEY,
    session TEXT NOT NULL,
    size    INTEGER NOT NULL,
    at      REAL NOT NULL,
    upload  INTEGER NOT NULL DEFAULT 0        -- of an upload there may be parts that no listing shows
) WITHOUT ROWID;
INSERT INTO "pending_objects" VALUES('pending_objects.key','pending_objects.session',1,1.5,1);
CREATE TABLE persons (                        -- who is told when they must act; the contact is a secret
    session  TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    language TEXT NOT NULL,
    contact  TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "persons" VALUES('persons.session','persons.name','persons.language','persons.contact');
CREATE TABLE poison (                         -- spool items that were set aside, so that they can be shown
    session    TEXT NOT NULL,
    item       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    folder     TEXT NOT NULL,
    at         REAL NOT NULL,
    PRIMARY KEY (session, item)
) WITHOUT ROWID;
INSERT INTO "poison" VALUES('poison.session','poison.item','poison.reason','poison.folder',1.5);
CREATE TABLE refusals (                       -- captured, and not stored for want of room: only the reference is left
    session     TEXT NOT NULL,
    item        TEXT NOT NULL,
    at          REAL NOT NULL,
    reason      TEXT NOT NULL,
    description TEXT NOT NULL,                -- JSON of appliance.protocol.SpoolItem
    PRIMARY KEY (session, item)
) WITHOUT ROWID;
INSERT INTO "refusals" VALUES('refusals.session','refusals.item',1.5,'refusals.reason','refusals.description');
CREATE TABLE removals (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         REAL NOT NULL,
    reason     TEXT NOT NULL,
    session    TEXT NOT NULL,
    category   TEXT NOT NULL,
    media_id   TEXT NOT NULL,
    message_id TEXT NOT NULL,
    kind       TEXT NOT NULL,
    size       INTEGER NOT NULL,              -- of its content as stored
    stored_at  REAL NOT NULL
);
INSERT INTO "removals" VALUES(1,1.5,'removals.reason','removals.session','removals.category','removals.media_id','removals.message_id','removals.kind',1,1.5);
CREATE TABLE repeats (                        -- what was created under an Idempotency-Key
    key         BLOB PRIMARY KEY,             -- hash of caller, call and key
    fingerprint BLOB NOT NULL,                -- hash of the body: another one under the same key is a mistake
    name        TEXT NOT NULL,                -- of what was created; never the answer, which may hold a secret
    at          REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "repeats" VALUES(X'01',X'01','repeats.name',1.5);
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    owner      TEXT NOT NULL DEFAULT '',
    node_id    TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    store_url  TEXT,                          -- file:… ; NULL until linked for the first time
    wanted     INTEGER NOT NULL DEFAULT 1,
    state      TEXT NOT NULL,
    since      REAL NOT NULL,
    detail     TEXT NOT NULL DEFAULT '',
    phone      TEXT,
    jid        TEXT,
    lid        TEXT,
    created_at REAL NOT NULL,
    settings   TEXT NOT NULL DEFAULT '{}'
, memory TEXT NOT NULL DEFAULT '{}');
INSERT INTO "sessions" VALUES('sessions.id','sessions.name','sessions.owner','sessions.node_id',1,'sessions.store_url',1,'{}',1.5,'sessions.detail','sessions.phone','sessions.jid','sessions.lid',1.5,'{}','{}');
CREATE TABLE silences (
    id         TEXT PRIMARY KEY,
    rule       TEXT NOT NULL DEFAULT '',      -- '' is every rule
    session    TEXT NOT NULL DEFAULT '',      -- '' is every session
    until      REAL NOT NULL,
    created_at REAL NOT NULL,
    comment    TEXT NOT NULL DEFAULT ''
);
INSERT INTO "silences" VALUES('silences.id','silences.rule','silences.session',1.5,1.5,'silences.comment');
CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,            -- part of the token, and no secret
    name         TEXT NOT NULL,
    digest       BLOB NOT NULL,               -- SHA-256 of the secret part: 256 random bits need no salt
    scope        TEXT NOT NULL,
    session      TEXT,                        -- the only session that it is good for
    created_at   REAL NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   REAL,
    revoked_at   REAL,
    last_used_at REAL,
    last_address TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
INSERT INTO "tokens" VALUES('tokens.id','tokens.name',X'01','tokens.scope','tokens.session',1.5,'tokens.created_by',1.5,1.5,1.5,'tokens.last_address');
CREATE TABLE uptime_chunks (                  -- consecutive slots of a ring: milliseconds online, milliseconds counted
    session TEXT NOT NULL,
    span    TEXT NOT NULL,
    chunk   INTEGER NOT NULL,
    slots   BLOB NOT NULL,
    PRIMARY KEY (session, span, chunk)
) WITHOUT ROWID;
INSERT INTO "uptime_chunks" VALUES('uptime_chunks.session','uptime_chunks.span',1,X'01');
CREATE TABLE uptime_marks (                   -- up to where the rings of a session are filled
    session   TEXT PRIMARY KEY,
    condition TEXT NOT NULL,
    at        REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "uptime_marks" VALUES('uptime_marks.session','uptime_marks.condition',1.5);
CREATE TABLE webhook_attempts (
    id       INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL REFERENCES webhook_deliveries (number) ON DELETE CASCADE,
    at       REAL NOT NULL,
    took_s   REAL NOT NULL,
    status   INTEGER,
    error    TEXT NOT NULL
);
INSERT INTO "webhook_attempts" VALUES(1,1,1.5,1.5,1,'webhook_attempts.error');
CREATE TABLE webhook_deliveries (             -- made in the transaction that records the event
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,          -- what the receiver knows it by
    webhook    TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,              -- the event's number
    type       TEXT NOT NULL,
    session    TEXT,
    body       TEXT NOT NULL,                 -- JSON as it is sent: every attempt sends the same
    state      TEXT NOT NULL,
    created_at REAL NOT NULL,
    queued_at  REAL NOT NULL,                 -- when it was queued last: it is given up a day after this
    due_at     REAL NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,    -- since it was queued last
    ended_at   REAL,
    status     INTEGER,                       -- of the latest answer; NULL: there was none
    error      TEXT NOT NULL DEFAULT ''
);
INSERT INTO "webhook_deliveries" VALUES(1,'webhook_deliveries.id','webhooks.id',1,'webhook_deliveries.type','webhook_deliveries.session','{}','{}',1.5,1.5,1.5,1,1.5,1,'webhook_deliveries.error');
CREATE TABLE webhooks (
    id         TEXT PRIMARY KEY,
    url        TEXT NOT NULL,                 -- it may hold a token: a secret
    secret     TEXT NOT NULL,                 -- signs what is sent; as it is, because signing needs it
    events     TEXT NOT NULL,                 -- JSON list of types or their beginnings; empty: all
    sessions   TEXT NOT NULL,                 -- JSON list; empty: all, and what concerns no session
    enabled    INTEGER NOT NULL,
    reason     TEXT NOT NULL DEFAULT '',      -- why it is not enabled, if nobody wanted that
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    delivered_at REAL,                        -- when something was last taken there
    error      TEXT NOT NULL DEFAULT ''       -- why the latest attempt failed; empty: it did not
) WITHOUT ROWID;
INSERT INTO "webhooks" VALUES('webhooks.id','webhooks.url','webhooks.secret','webhooks.events','webhooks.sessions',1,'webhooks.reason',1.5,'webhooks.created_by',1.5,'webhooks.error');
CREATE TABLE worker_seen (                    -- an event of a worker with a number up to `seq` was already dealt with
    session TEXT NOT NULL,
    store   TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (session, store)
) WITHOUT ROWID;
INSERT INTO "worker_seen" VALUES('worker_seen.session','worker_seen.store',1);
CREATE INDEX sessions_by_phone ON sessions (phone) WHERE phone IS NOT NULL;
CREATE INDEX pairings_by_session ON pairings (session, created_at);
CREATE INDEX pairings_open ON pairings (created_at) WHERE ended_at IS NULL;
CREATE INDEX media_by_session ON media (session, stored_at);
CREATE INDEX media_by_time ON media (stored_at);
CREATE INDEX media_by_key ON media (key);
CREATE INDEX disconnections_by_session ON disconnections (session, at);
CREATE INDEX disconnections_by_time ON disconnections (at);
CREATE INDEX disconnections_open ON disconnections (session) WHERE back_at IS NULL;
CREATE UNIQUE INDEX alerts_open ON alerts (rule, subject) WHERE ended_at IS NULL;
CREATE INDEX alerts_by_end ON alerts (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX deliveries_by_due ON deliveries (due_at);
CREATE INDEX pairings_by_end ON pairings (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX media_by_category ON media (category, stored_at);
CREATE INDEX objects_by_age ON objects (session, newest_at) WHERE pins = 0;
CREATE INDEX objects_in_sum ON objects (session, category, newest_at, size, original_size, refs, pins);
CREATE INDEX objects_by_time ON objects (stored_at, size);
CREATE TRIGGER media_added AFTER INSERT ON media BEGIN
    UPDATE objects SET refs = refs + 1, pins = pins + new.pinned, newest_at = max(newest_at, new.stored_at)
    WHERE key = new.key;
END;
CREATE TRIGGER media_removed AFTER DELETE ON media BEGIN
    UPDATE objects SET refs = refs - 1, pins = pins - old.pinned WHERE key = old.key;
END;
CREATE TRIGGER media_pinned AFTER UPDATE OF pinned ON media BEGIN
    UPDATE objects SET pins = pins + new.pinned - old.pinned WHERE key = new.key;
END;
CREATE INDEX removals_by_time ON removals (at);
CREATE INDEX refusals_by_time ON refusals (at);
CREATE UNIQUE INDEX tokens_by_name ON tokens (name) WHERE revoked_at IS NULL;
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_session ON audit (session, at) WHERE session IS NOT NULL;
CREATE INDEX repeats_by_time ON repeats (at);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook, due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook, state, number);
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (delivery);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',1);
INSERT INTO "sqlite_sequence" VALUES('disconnections',1);
INSERT INTO "sqlite_sequence" VALUES('events',1);
INSERT INTO "sqlite_sequence" VALUES('removals',1);
INSERT INTO "sqlite_sequence" VALUES('webhook_deliveries',1);
COMMIT;
PRAGMA user_version=7;
