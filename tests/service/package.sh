#!/bin/bash
# A newcomer's way with the package, as the only work of a freshly booted systemd: install, configure, start, look, pause,
# upgrade, purge. Each line says one thing that was seen, as name=value; tests/service.rs judges them.
exec >/results/seen 2>/results/errors

note() { echo "$1=$2"; }
property() { systemctl show --property "$1" --value setpoint.service; }

# Machines that build images forbid packages to touch services; here they may.
rm --force /usr/sbin/policy-rc.d
dpkg --install /packages/first.deb >&2
note install "$?"
note after_install "$(property ActiveState) $(systemctl is-enabled setpoint.service)"
setpoint check /etc/setpoint/setpoint.toml >&2
note check_of_what_is_shipped "$?"
note environment "$(stat --format '%a %U' /etc/default/setpoint)"
note manual "$(man --where setpoint-status 2>/dev/null || ls /usr/share/man/man1/setpoint-status.1*)"

cp /own/setpoint.toml /etc/setpoint/setpoint.toml
cat /own/credentials >>/etc/default/setpoint
systemctl enable --now setpoint.service
note start "$?"
pid=$(property MainPID)
note status "$(setpoint status | grep --count '^web ')"
setpoint pause web --for 2h --reason 'a trial' >&2
note pause "$?"

dpkg --install /packages/second.deb >&2 </dev/null
note upgrade "$?"
note version "$(dpkg-query --show --showformat '${Version}' setpoint)"
note after_upgrade "$(property ActiveState) $(systemctl is-enabled setpoint.service)"
note new_process "$([[ $(property MainPID) != "$pid" ]] && echo yes)"
note configuration "$(cmp /own/setpoint.toml /etc/setpoint/setpoint.toml && echo kept)"
setpoint status >&2
note status_after_upgrade "$(setpoint status | grep '^web ' | grep --count paused)"
note history "$(setpoint history web | grep --count 'a trial')"

dpkg --remove setpoint >&2
note after_removal "$(property ActiveState) $(ls /etc/setpoint)"
dpkg --purge setpoint >&2
note purge "$?"
note left "$(ls --directory /etc/setpoint /etc/default/setpoint /var/lib/setpoint /var/lib/private/setpoint /usr/bin/setpoint)"

journalctl --unit setpoint.service >/results/journal
systemctl poweroff
