"""Makes wheels for tests."""

import base64
import csv
import hashlib
import io
import zipfile


def record_of(files, info):
    """Return the RECORD of *files* (bytes or text by name), which is in the folder *info*."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([f"{info}/RECORD", "", ""])
    for name, data in files.items():
        content = data.encode() if isinstance(data, str) else data
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow([name, f"sha256={digest}", len(content)])
    return text.getvalue()


def zip_wheel(files, info, record=None):
    """Return the bytes of a wheel of *files*, with a right RECORD unless it is given."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {
            **files, f"{info}/RECORD": record_of(files, info) if record is None else record,
        }.items():  # fmt: skip
            archive.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()
