-- Whether builds are being removed. Until the removal ends, nothing is built or imported. This used to be a skip reason.
ALTER TABLE packages ADD COLUMN removing BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE versions ADD COLUMN removing BOOLEAN NOT NULL DEFAULT false;
UPDATE packages SET removing = true, skip = '' WHERE skip = 'its builds are being removed';
UPDATE versions SET removing = true, skip = '' WHERE skip = 'its builds are being removed';
