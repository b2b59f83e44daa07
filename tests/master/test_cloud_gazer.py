"""CloudGazer follows nothing, says so once, and hears what every task hears."""

import logging
import time

from piwheels.master.cloud_gazer import CloudGazer


def test_it_says_what_it_does_and_hears_pause_and_quit(with_db, running, caplog):
    caplog.set_level(logging.INFO)
    gazer = CloudGazer(with_db)
    with running(gazer):
        gazer.pause()
        gazer.resume()
        time.sleep(0.2)
        assert gazer.is_alive()
    assert caplog.text.count("not followed") == 1
