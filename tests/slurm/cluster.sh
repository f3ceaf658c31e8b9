#!/usr/bin/env bash
# A real SLURM of one node on this machine, for tests: as root, on loopback, without systemd, with two GPUs that are none.
#   cluster.sh start [accounting]     cluster.sh stop
# Needs the Debian packages slurm-wlm and munge; for accounting slurmdbd and mariadb-server too.
set -euo pipefail
LAB=${LACUNA_SLURM_LAB:-/tmp/lacuna-slurm}
HOST=$(hostname -s)
MARK="# lacuna: a cluster for tests"

until_true() { # until_true SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || { echo "cluster.sh: not so in time: $*" >&2; return 1; }
		sleep 0.1
	done
}

write_configuration() { # with accounting, or none
	# a job step forgets SLURM_CONF, so the file must be where SLURM looks for it
	if [ -e /etc/slurm/slurm.conf ] && ! head -n 1 /etc/slurm/slurm.conf | grep -qxF "$MARK"; then
		echo "cluster.sh: /etc/slurm/slurm.conf belongs to another cluster; this script is for machines without one" >&2
		exit 1
	fi
	mkdir -p /etc/slurm "$LAB"/{state,spool,log,run}
	local accounting="AccountingStorageType=accounting_storage/none"
	if [ "$1" = accounting ]; then
		accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=$HOST
AccountingStorageTRES=gres/gpu"
	fi
	cat >/etc/slurm/slurm.conf <<-END
		$MARK
		ClusterName=lab
		SlurmctldHost=$HOST(127.0.0.1)
		SlurmUser=root
		SlurmdUser=root
		CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
		StateSaveLocation=$LAB/state
		SlurmdSpoolDir=$LAB/spool
		SlurmctldPidFile=$LAB/run/slurmctld.pid
		SlurmdPidFile=$LAB/run/slurmd.pid
		SlurmctldLogFile=$LAB/log/slurmctld.log
		SlurmdLogFile=$LAB/log/slurmd.log
		# by process group: by parent, a process is lost when its parent dies (real clusters use cgroups)
		ProctrackType=proctrack/pgid
		TaskPlugin=task/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core_Memory
		SchedulerParameters=sched_interval=2,bf_interval=2
		# memory limits without cgroups, looked at every second
		JobAcctGatherType=jobacct_gather/linux
		JobAcctGatherFrequency=task=1
		JobAcctGatherParams=OverMemoryKill,UsePss
		ReturnToService=2
		KillWait=10
		MinJobAge=300
		GresTypes=gpu,shard
		# more cores than the machine has
		SlurmdParameters=config_overrides
		$accounting
		NodeName=$HOST NodeAddr=127.0.0.1 CPUs=${LACUNA_SLURM_CPUS:-4} RealMemory=16000 Gres=gpu:fake:2,shard:16
		PartitionName=gpu Nodes=$HOST Default=YES MaxTime=INFINITE
		PartitionName=cpu Nodes=$HOST MaxTime=INFINITE
	END
	cat >/etc/slurm/gres.conf <<-END
		$MARK
		AutoDetect=off
		NodeName=$HOST Name=gpu Type=fake File=/dev/lacuna-gpu[0-1]
		NodeName=$HOST Name=shard Count=16
	END
	for i in 0 1; do [ -e "/dev/lacuna-gpu$i" ] || mknod -m 666 "/dev/lacuna-gpu$i" c 1 3; done
}

start_accounting() {
	local socket=$LAB/run/mariadbd.sock
	id mysql >/dev/null
	chmod 777 "$LAB/run"
	if [ ! -d "$LAB/database/mysql" ]; then
		install -d -o mysql "$LAB/database"
		mariadb-install-db --no-defaults --user=mysql --datadir="$LAB/database" --skip-test-db \
			--auth-root-authentication-method=socket >"$LAB/log/mariadb-install.log" 2>&1
	fi
	mariadbd --no-defaults --user=mysql --datadir="$LAB/database" --socket="$socket" --bind-address=127.0.0.1 --port=13306 \
		--pid-file="$LAB/run/mariadbd.pid" --innodb-lock-wait-timeout=900 >"$LAB/log/mariadbd.log" 2>&1 </dev/null &
	until_true 60 mariadb -S "$socket" -e "select 1"
	mariadb -S "$socket" -e "create database if not exists accounts;
		create user if not exists slurm@localhost identified by 'lab';
		create user if not exists slurm@'127.0.0.1' identified by 'lab';
		grant all on accounts.* to slurm@localhost; grant all on accounts.* to slurm@'127.0.0.1';"
	cat >/etc/slurm/slurmdbd.conf <<-END
		$MARK
		AuthType=auth/munge
		DbdHost=$HOST
		DbdAddr=127.0.0.1
		SlurmUser=root
		LogFile=$LAB/log/slurmdbd.log
		PidFile=$LAB/run/slurmdbd.pid
		StorageType=accounting_storage/mysql
		StorageHost=127.0.0.1
		StoragePort=13306
		StorageUser=slurm
		StoragePass=lab
		StorageLoc=accounts
		CommunicationParameters=NoInAddrAny
	END
	chmod 600 /etc/slurm/slurmdbd.conf
	slurmdbd
	until_true 60 sacctmgr -n list cluster
	sacctmgr -i add cluster lab >/dev/null 2>&1 || true
	sacctmgr -i add account mygroup >/dev/null 2>&1 || true
	sacctmgr -i add user "$(id -un)" account=mygroup >/dev/null 2>&1 || true
}

start() {
	write_configuration "$1"
	if ! munge -n </dev/null >/dev/null 2>&1; then
		install -d -o munge -g munge -m 755 /run/munge
		runuser -u munge -- munged
		until_true 20 munge -n
		touch "$LAB/run/munged.ours"
	fi
	[ "$1" = accounting ] && start_accounting
	# -c: nothing is remembered from an earlier cluster
	slurmctld -c
	slurmd -c
	until_true 60 sh -c '[ "$(sinfo --noheader --format %t --nodes "$1" | head -n 1)" = idle ]' sh "$HOST"
	sinfo --Node --format "%N %t %c %m %G"
}

stop_by_file() {
	[ -s "$1" ] || return 0
	local process
	process=$(cat "$1")
	kill "$process" 2>/dev/null || true
	until_true 30 sh -c '! kill -0 "$1" 2>/dev/null' sh "$process" || kill -9 "$process"
	rm -f "$1"
}

stop() {
	for daemon in slurmd slurmctld slurmdbd mariadbd; do stop_by_file "$LAB/run/$daemon.pid"; done
	[ -e "$LAB/run/munged.ours" ] && stop_by_file /run/munge/munged.pid
	head -n 1 /etc/slurm/slurm.conf 2>/dev/null | grep -qxF "$MARK" && rm -f /etc/slurm/{slurm,gres,slurmdbd}.conf
	rm -rf "$LAB" /dev/lacuna-gpu[01]
}

case "${1:-}" in
start) start "${2:-none}" ;;
stop) stop ;;
*)
	sed -n '2,4p' "$0" >&2
	exit 2
	;;
esac
