INSERT INTO preinstalled_apt_packages (abi_tag, apt_package)
SELECT DISTINCT a.abi_tag, i.apt_package FROM peer.preinstalled_apt_packages i JOIN build_abis a USING (abi_tag)
WHERE length(i.apt_package) <= 200;

INSERT INTO peer.left_out (kind, what, why)
SELECT 'preinstalled_apt_packages', i.apt_package, format('for %s, which is not here', i.abi_tag)
FROM peer.preinstalled_apt_packages i
WHERE NOT EXISTS (SELECT FROM preinstalled_apt_packages k WHERE k.abi_tag = i.abi_tag AND k.apt_package = i.apt_package);
