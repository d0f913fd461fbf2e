#!/bin/bash
# The unit's life, as the only work of a freshly booted systemd. Each line says one thing that was seen, as name=value;
# tests/service.rs judges them.
exec >/results/seen 2>/results/errors

note() { echo "$1=$2"; }
property() { systemctl show --property "$1" --value setpoint.service; }
process() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$pid/status"; }
await() { for _ in {1..300}; do "$@" && return 0; sleep 0.1; done; return 1; }
restarted() { [[ $(property NRestarts) -gt 0 && $(property ActiveState) == active ]]; }

systemctl start setpoint.service
note start "$?"
note state "$(property ActiveState)"
pid=$(property MainPID)
note user "$(process Uid)"
note capabilities "$(process CapBnd)"
note no_new_privileges "$(process NoNewPrivs)"
note system_call_filter "$(process Seccomp)"
note own_user_namespace "$([[ $(readlink /proc/$pid/ns/user) != $(readlink /proc/1/ns/user) ]] && echo yes)"
note root_is "$(awk '$5 == "/" { print substr($6, 1, 2) }' /proc/$pid/mountinfo)"
note state_directory "$(stat --format %a /var/lib/private/setpoint)"

systemctl reload setpoint.service
note reload "$?"
cp /etc/setpoint/setpoint.toml /etc/setpoint/sound.toml
echo 'nonsense = true' >/etc/setpoint/setpoint.toml
systemctl reload setpoint.service
note reload_of_nonsense "$?"
kill -HUP "$pid"
sleep 2
note after_reloads "$(property ActiveState) $([[ $(property MainPID) == "$pid" ]] && echo 'same process') $(property NRestarts)"
cp /etc/setpoint/sound.toml /etc/setpoint/setpoint.toml

kill -STOP "$pid"
await restarted
note after_hang "$(property ActiveState) $(property NRestarts)"
note watchdog "$(journalctl --unit setpoint.service | grep --count 'Watchdog timeout')"

systemctl stop setpoint.service
note stop "$(property ActiveState) $(property Result) $(property ExecMainStatus)"

echo 'nonsense = true' >/etc/setpoint/setpoint.toml
systemctl reset-failed setpoint.service
systemctl start setpoint.service
note start_of_nonsense "$(property ActiveState) $(property ExecMainStatus) $(property NRestarts)"

journalctl --unit setpoint.service >/results/journal
systemctl poweroff
