-- Messages, conversations, and the copy of who belongs to which group. How this file is read:
-- common/db.h, db_migrate. Steps are added at the end and never changed.
--
-- A conversation is a pair of numbers: two users (smaller id, larger id), or (0, group id). Times
-- are milliseconds since 1970. seq, rev, versions and positions count as README.md says.

-- version 1

-- mysql
CREATE TABLE IF NOT EXISTS message (
  conv_a         BIGINT NOT NULL,
  conv_b         BIGINT NOT NULL,
  seq            BIGINT NOT NULL,
  id             BIGINT NOT NULL,
  sender_id      BIGINT NOT NULL,
  client_id      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  type           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  content        TEXT NOT NULL,
  digest         BIGINT NOT NULL,  -- of content, type and reply_to as first sent
  reply_to       BIGINT NOT NULL,  -- an id, or 0
  created_at     BIGINT NOT NULL,
  edited_at      BIGINT NOT NULL,  -- 0: never
  recalled       TINYINT NOT NULL,
  rev            BIGINT NOT NULL,
  command_offset BIGINT NOT NULL,  -- of the command that wrote it
  PRIMARY KEY (conv_a, conv_b, seq),
  UNIQUE KEY message_client (conv_a, conv_b, sender_id, client_id),
  KEY message_id (id),
  KEY message_rev (conv_a, conv_b, rev)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS conversation (
  conv_a     BIGINT NOT NULL,
  conv_b     BIGINT NOT NULL,
  last_seq   BIGINT NOT NULL,
  last_rev   BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,      -- created_at of the last message
  PRIMARY KEY (conv_a, conv_b)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS participant (
  user_id    BIGINT NOT NULL,
  conv_a     BIGINT NOT NULL,
  conv_b     BIGINT NOT NULL,
  read_seq   BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, conv_a, conv_b)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS member (
  group_id    BIGINT NOT NULL,
  user_id     BIGINT NOT NULL,
  role        TINYINT NOT NULL,    -- as objects.proto numbers them
  state       TINYINT NOT NULL,    -- 1: member, 0: removed
  muted_until BIGINT NOT NULL,
  joined_at   BIGINT NOT NULL,
  from_seq    BIGINT NOT NULL,     -- the first message that this member sees
  version     BIGINT NOT NULL,     -- the group's counter at the last change
  PRIMARY KEY (group_id, user_id),
  KEY member_user (user_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS group_copy (
  group_id   BIGINT NOT NULL,
  visibility TINYINT NOT NULL,     -- 1: public
  deleted    TINYINT NOT NULL,
  version    BIGINT NOT NULL,
  PRIMARY KEY (group_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS send_position (
  log_id       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  partition_no INT NOT NULL,
  next         BIGINT NOT NULL,    -- written up to here
  PRIMARY KEY (log_id, partition_no)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS id_block (
  id   TINYINT NOT NULL,           -- 1, the only row
  next BIGINT NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO id_block (id, next) VALUES (1, 1);

-- sqlite
CREATE TABLE IF NOT EXISTS message (
  conv_a         INTEGER NOT NULL,
  conv_b         INTEGER NOT NULL,
  seq            INTEGER NOT NULL,
  id             INTEGER NOT NULL,
  sender_id      INTEGER NOT NULL,
  client_id      TEXT NOT NULL,
  type           TEXT NOT NULL,
  content        TEXT NOT NULL,
  digest         INTEGER NOT NULL,
  reply_to       INTEGER NOT NULL,
  created_at     INTEGER NOT NULL,
  edited_at      INTEGER NOT NULL,
  recalled       INTEGER NOT NULL,
  rev            INTEGER NOT NULL,
  command_offset INTEGER NOT NULL,
  PRIMARY KEY (conv_a, conv_b, seq)
);
CREATE UNIQUE INDEX IF NOT EXISTS message_client ON message (conv_a, conv_b, sender_id, client_id);
CREATE INDEX IF NOT EXISTS message_id ON message (id);
CREATE INDEX IF NOT EXISTS message_rev ON message (conv_a, conv_b, rev) WHERE rev > 0;

CREATE TABLE IF NOT EXISTS conversation (
  conv_a     INTEGER NOT NULL,
  conv_b     INTEGER NOT NULL,
  last_seq   INTEGER NOT NULL,
  last_rev   INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (conv_a, conv_b)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS participant (
  user_id    INTEGER NOT NULL,
  conv_a     INTEGER NOT NULL,
  conv_b     INTEGER NOT NULL,
  read_seq   INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, conv_a, conv_b)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS member (
  group_id    INTEGER NOT NULL,
  user_id     INTEGER NOT NULL,
  role        INTEGER NOT NULL,
  state       INTEGER NOT NULL,
  muted_until INTEGER NOT NULL,
  joined_at   INTEGER NOT NULL,
  from_seq    INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS member_user ON member (user_id);

CREATE TABLE IF NOT EXISTS group_copy (
  group_id   INTEGER NOT NULL PRIMARY KEY,
  visibility INTEGER NOT NULL,
  deleted    INTEGER NOT NULL,
  version    INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS send_position (
  log_id       TEXT NOT NULL,
  partition_no INTEGER NOT NULL,
  next         INTEGER NOT NULL,
  PRIMARY KEY (log_id, partition_no)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS id_block (
  id   INTEGER NOT NULL PRIMARY KEY,
  next INTEGER NOT NULL
);
INSERT OR IGNORE INTO id_block (id, next) VALUES (1, 1);
