-- Failures and what confirms them. Final: no second opinion is needed. Owner: whose slave made the build; empty: a local one.
ALTER TABLE builds
    ADD COLUMN owner VARCHAR(200) COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN final BOOLEAN NOT NULL DEFAULT true;

-- Versions that wait for a second opinion: whose slave has failed, and when. Both are null before the first attempt.
ALTER TABLE build_queue
    ADD COLUMN failed_by VARCHAR(200) COLLATE "C",
    ADD COLUMN failed_at TIMESTAMPTZ,
    ADD CHECK ((failed_by IS NULL) = (failed_at IS NULL));
DROP INDEX build_queue_order;
CREATE INDEX build_queue_order ON build_queue (abi_tag, released, package, version) WHERE failed_at IS NULL;
CREATE INDEX build_queue_again ON build_queue (abi_tag, failed_at, package, version) WHERE failed_at IS NOT NULL;

-- Slaves whose failures do not count. Without an identity, all slaves of the owner.
CREATE TABLE slave_quarantines (
    owner        VARCHAR(200) COLLATE "C" NOT NULL,
    identity     VARCHAR(200) COLLATE "C" NOT NULL,
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL,
    reason       VARCHAR(8192) NOT NULL,
    since        TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, identity, abi_tag)
);
