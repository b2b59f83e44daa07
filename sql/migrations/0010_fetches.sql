-- What builds asked the proxies of their slaves for, in order. Refused: the reason, if the build did not get it.
CREATE TABLE fetches (
    build_id     BIGINT NOT NULL REFERENCES builds ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    url          VARCHAR(500) NOT NULL,
    size         BIGINT NOT NULL CHECK (size >= 0),
    sha256       VARCHAR(64),
    refused      VARCHAR(200) NOT NULL,
    PRIMARY KEY (build_id, position)
);
