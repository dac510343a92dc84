-- Groups, who belongs to them, and events not yet published. How this file is read: common/db.h,
-- db_migrate. Steps are added at the end and never changed. Times are milliseconds since 1970.

-- version 1

-- mysql
CREATE TABLE IF NOT EXISTS chat_group (
  id           BIGINT NOT NULL AUTO_INCREMENT,
  name         VARCHAR(100) NOT NULL,
  name_key     VARCHAR(2000) NOT NULL,  -- the name in NFKC, case-folded: what a search looks at
  description  VARCHAR(1000) NOT NULL,
  avatar       VARCHAR(512) NOT NULL,
  visibility   SMALLINT NOT NULL,       -- 0 private, 1 public
  owner_id     BIGINT NOT NULL,
  creator_id   BIGINT NOT NULL,
  request_key  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  member_count BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL,
  deleted_at   BIGINT NOT NULL,         -- 0: it lives; a deleted row stays, so that version never restarts
  version      BIGINT NOT NULL,         -- 1, and one more with each change of the group or a membership
  PRIMARY KEY (id),
  UNIQUE KEY by_request (creator_id, request_key),
  KEY by_visibility (visibility, deleted_at, id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS member (
  group_id      BIGINT NOT NULL,
  user_id       BIGINT NOT NULL,
  state         SMALLINT NOT NULL,      -- 1 member, 0 no longer
  role          SMALLINT NOT NULL,      -- 1 member, 2 admin, 3 owner; of those gone: their last
  muted_until   BIGINT NOT NULL,        -- outlives leaving and coming back
  joined_at     BIGINT NOT NULL,
  whole_history SMALLINT NOT NULL,      -- the group was public when the user joined
  version       BIGINT NOT NULL,        -- the group's at the last change of this row
  PRIMARY KEY (group_id, user_id),
  KEY by_user (user_id, state, group_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS outbox (
  id          BIGINT NOT NULL AUTO_INCREMENT,
  topic       SMALLINT NOT NULL,
  key_a       BIGINT NOT NULL,
  key_b       BIGINT NOT NULL,
  partition_a BIGINT NOT NULL,
  value       MEDIUMBLOB,
  traceparent VARCHAR(60),
  request_id  VARCHAR(64),
  created_at  BIGINT NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- sqlite
CREATE TABLE IF NOT EXISTS chat_group (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  name         TEXT NOT NULL,
  name_key     TEXT NOT NULL,
  description  TEXT NOT NULL,
  avatar       TEXT NOT NULL,
  visibility   INTEGER NOT NULL,
  owner_id     INTEGER NOT NULL,
  creator_id   INTEGER NOT NULL,
  request_key  TEXT NOT NULL,
  member_count INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  deleted_at   INTEGER NOT NULL,
  version      INTEGER NOT NULL,
  UNIQUE (creator_id, request_key)
);
CREATE INDEX IF NOT EXISTS chat_group_by_visibility ON chat_group (visibility, deleted_at, id);

CREATE TABLE IF NOT EXISTS member (
  group_id      INTEGER NOT NULL,
  user_id       INTEGER NOT NULL,
  state         INTEGER NOT NULL,
  role          INTEGER NOT NULL,
  muted_until   INTEGER NOT NULL,
  joined_at     INTEGER NOT NULL,
  whole_history INTEGER NOT NULL,
  version       INTEGER NOT NULL,
  PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS member_by_user ON member (user_id, state, group_id);

CREATE TABLE IF NOT EXISTS outbox (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  topic       INTEGER NOT NULL,
  key_a       INTEGER NOT NULL,
  key_b       INTEGER NOT NULL,
  partition_a INTEGER NOT NULL,
  value       BLOB,
  traceparent TEXT,
  request_id  TEXT,
  created_at  INTEGER NOT NULL
);
-- both
