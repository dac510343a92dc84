-- Users, their sessions, and events not yet published. How this file is read: common/db.h,
-- db_migrate. Steps are added at the end and never changed. Times are milliseconds since 1970.

-- version 1

-- mysql
CREATE TABLE IF NOT EXISTS user (
  id            BIGINT NOT NULL AUTO_INCREMENT,
  username      VARCHAR(32) NOT NULL,   -- as the user wrote it
  username_key  VARCHAR(255) NOT NULL,  -- NFKC, case-folded
  password_hash VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  nickname      VARCHAR(64) NOT NULL,
  avatar        VARCHAR(512) NOT NULL,
  bio           VARCHAR(500) NOT NULL,
  email         VARCHAR(254) NOT NULL,
  search_text   VARCHAR(2048) NOT NULL, -- username_key, a line feed, the folded nickname
  created_at    BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL,
  version       BIGINT NOT NULL,        -- 1, and one more with each change
  PRIMARY KEY (id),
  UNIQUE KEY username_key (username_key)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS session (
  id         BIGINT NOT NULL AUTO_INCREMENT,
  user_id    BIGINT NOT NULL,
  generation BIGINT NOT NULL,      -- of the newest refresh token
  rotated_at BIGINT NOT NULL,
  device     VARCHAR(200) NOT NULL,
  address    VARCHAR(64) NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at    BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  ended_at   BIGINT NOT NULL,      -- 0: it lives
  PRIMARY KEY (id),
  KEY by_user (user_id, ended_at),
  KEY by_ended (ended_at),
  KEY by_expires (expires_at)
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
CREATE TABLE IF NOT EXISTS user (
  id            INTEGER PRIMARY KEY AUTOINCREMENT, -- a deleted id is never given again
  username      TEXT NOT NULL,
  username_key  TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  nickname      TEXT NOT NULL,
  avatar        TEXT NOT NULL,
  bio           TEXT NOT NULL,
  email         TEXT NOT NULL,
  search_text   TEXT NOT NULL,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  version       INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS session (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id    INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  rotated_at INTEGER NOT NULL,
  device     TEXT NOT NULL,
  address    TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  seen_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS session_by_user ON session (user_id, ended_at);
CREATE INDEX IF NOT EXISTS session_by_ended ON session (ended_at);
CREATE INDEX IF NOT EXISTS session_by_expires ON session (expires_at);

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
