#!/usr/bin/env bash
# A real SLURM cluster of one node on this machine, to try and test sweeps without a cluster.
#
# usage: dev_cluster.sh start|stop|status
#   start    install what is missing (apt), start the daemons and wait until the node takes jobs; seconds, and half a
#            minute more where packages are missing. Does nothing when the cluster is up. Queued jobs go on.
#   stop     put running jobs back into the queue, as if the machine had been switched off, and end the daemons
#   status   say which daemons run; exit status 0 if the node takes jobs, else 1
#
# Meant for Debian 12 or newer, or Ubuntu, as root; in a container too: needs no systemd, cgroups or GPU.
# Exit status 2: it cannot work here (not root, no apt-get, packages not to be had, ...), and one line says why.
# Exit status 1: it should have worked; the line names the log.
#
# Environment variables:
#   SLURM_DEV_ROOT     folder of all its state (/var/lib/slurm-dev); remove it after stop and nothing but packages stays
#   SLURM_DEV_CPUS     CPUs that the node claims to have (as many as the machine); may be more
#   SLURM_DEV_GPUS     GPUs that the node claims to have (2); jobs get CUDA_VISIBLE_DEVICES, whatever is behind it
#   SLURM_DEV_ACCT     dbd (default): with slurmdbd and MariaDB, so that sacct works; none: without, starts faster
#   SLURM_DEV_DB_PORT  port of the database on 127.0.0.1 (13306)
#   SLURM_DEV_INSTALL  yes (default): install missing packages; no: refuse
#   SLURM_DEV_CLEAN    1: start from nothing; forgets all jobs and their accounting
set -euo pipefail

ROOT=${SLURM_DEV_ROOT:-/var/lib/slurm-dev}
CORES=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # nproc counts threads where these are set
CPUS=${SLURM_DEV_CPUS:-$CORES}
GPUS=${SLURM_DEV_GPUS:-2}
ACCT=${SLURM_DEV_ACCT:-dbd}
DB_PORT=${SLURM_DEV_DB_PORT:-13306}
INSTALL=${SLURM_DEV_INSTALL:-yes}
CLEAN=${SLURM_DEV_CLEAN:-}
NODE=dev                                             # the same whatever the machine is called: old jobs stay valid
DAEMONS=(munged mariadbd slurmdbd slurmctld slurmd)  # in the order of starting
SOCKET=$ROOT/run/munge.socket
SQL=(--no-defaults "--socket=$ROOT/run/mysql.socket")
export SLURM_CONF=$ROOT/etc/slurm.conf PATH=/usr/sbin:/sbin:$PATH

say() { echo "slurm-dev: $*"; }
die() { say "$*" >&2; exit 1; }
refuse() { say "$*" >&2; exit 2; }

check_settings() {
    local name
    [ "$(id -u)" = 0 ] || refuse "needs root: run it as root or in a container"
    case $ROOT in /*) ;; *) refuse "SLURM_DEV_ROOT=$ROOT: expected an absolute path" ;; esac
    [ ${#ROOT} -le 80 ] || refuse "SLURM_DEV_ROOT=$ROOT: too long for the sockets in it; at most 80 characters"
    for name in CPUS GPUS DB_PORT; do
        [[ ${!name} =~ ^[0-9]+$ ]] || refuse "SLURM_DEV_$name=${!name}: expected a whole number"
    done
    [ "$CPUS" -ge 1 ] || refuse "SLURM_DEV_CPUS=$CPUS: expected at least 1"
    [[ $ACCT =~ ^(dbd|none)$ ]] || refuse "SLURM_DEV_ACCT=$ACCT: expected dbd or none"
}

# One start or stop at a time. The daemons must not inherit the lock (see launch).
take_turn() {
    exec 9>"$ROOT/lock"
    flock --wait 120 9 || die "another start or stop has been busy for two minutes; see $ROOT/log"
}

# Process id of a daemon of this cluster. A number in an old file may belong to another program by now.
pid_of() {
    local pid name
    { read -r pid <"$ROOT/run/$1.pid" && read -r name <"/proc/$pid/comm"; } 2>/dev/null || return 1
    [ "$name" = "$1" ] && grep -qzxF "SLURM_CONF=$SLURM_CONF" "/proc/$pid/environ" 2>/dev/null && echo "$pid"
}

launch() { # launch NAME ARGUMENT...: in the background, out of reach of this terminal's Ctrl-C
    local name=$1
    if pid_of "$name" >/dev/null; then return; fi
    setsid "$@" </dev/null >>"$ROOT/log/$name.out" 2>&1 9>&- &
    echo $! >"$ROOT/run/$name.pid"
}

wait_for() { # wait_for NAME SECONDS COMMAND...: until the command succeeds
    local name=$1 until=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        kill -0 "$(<"$ROOT/run/$name.pid")" 2>/dev/null || die "$name ended: $(last_words "$name")"
        [ $SECONDS -lt $until ] || die "$name is not ready after a long time: $(last_words "$name")"
        sleep 0.1
    done
}

last_words() { echo "$(grep -v -e Aborting -e '^$' "$ROOT/log/$1.out" | tail -n 1) (see $ROOT/log)"; }

install_packages() {
    local pair missing=() policy=/usr/sbin/policy-rc.d log=$ROOT/log/apt.log
    local wanted=(munged:munge slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client)
    [ "$ACCT" = none ] || wanted+=(slurmdbd:slurmdbd mariadbd:mariadb-server)
    for pair in "${wanted[@]}"; do
        command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$INSTALL" = yes ] || refuse "${missing[*]} are not installed: SLURM_DEV_INSTALL=yes does that"
    command -v apt-get >/dev/null || refuse "no apt-get here to install ${missing[*]}: use Debian or Ubuntu"
    say "installing ${missing[*]}"
    (
        # Packages would start services of their own, unless a policy forbids it; one that is there already stays.
        if [ ! -e $policy ]; then
            trap 'rm -f $policy' EXIT
            printf '#!/bin/sh\nexit 101\n' >$policy
            chmod +x $policy
        fi
        export DEBIAN_FRONTEND=noninteractive
        quick=(-o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20) # where no network is
        apt-get "${quick[@]}" update -q && apt-get "${quick[@]}" install -qy --no-install-recommends "${missing[@]}"
    ) </dev/null >"$log" 2>&1 || refuse "apt-get cannot install ${missing[*]}: $(apt_error "$log") (see $log)"
}

apt_error() { grep '^E: ' "$1" | head -n 1 || tail -n 1 "$1"; }

slurm_conf() {
    local host memory gres=() gpus="" storage=none pinning=affinity
    host=$(uname -n)
    host=${host%%.*}
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.95)}' /proc/meminfo)
    [ "$GPUS" = 0 ] || { gres=(GresTypes=gpu) && gpus=Gres=gpu:$GPUS; }
    [ "$ACCT" = none ] || storage=slurmdbd
    [ "$CPUS" -le "$CORES" ] || pinning=none # srun cannot pin tasks to CPUs that are not there
    # cred_expire is also how long a requeued job waits, 120 s unless told, and sched_interval how long it may lie there
    # after that, 60 s. Python jobs that ignore SIGTERM end KillWait later. MinJobAge keeps ended jobs visible to squeue
    # for a day.
    printf '%s\n' ClusterName=dev "SlurmctldHost=$host(127.0.0.1)" SlurmUser=root \
        "AuthInfo=socket=$SOCKET,cred_expire=10" "StateSaveLocation=$ROOT/state" "SlurmdSpoolDir=$ROOT/spool" \
        "SlurmctldPidFile=$ROOT/run/slurmctld.own.pid" "SlurmdPidFile=$ROOT/run/slurmd.own.pid" \
        "SlurmdLogFile=$ROOT/log/slurmd.log" ProctrackType=proctrack/linuxproc "TaskPlugin=task/$pinning" \
        SelectType=select/cons_tres SelectTypeParameters=CR_CPU_Memory DefMemPerCPU=1000 \
        SchedulerParameters=batch_sched_delay=1,bf_interval=5,sched_interval=2 \
        SlurmctldParameters=preempt_send_user_signal SlurmdParameters=config_overrides \
        ReturnToService=2 KillWait=5 MinJobAge=86400 "${gres[@]}" \
        "AccountingStorageType=accounting_storage/$storage" AccountingStorageHost=127.0.0.1 \
        "AccountingStoragePass=$SOCKET" \
        "NodeName=$NODE NodeHostname=$host NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$memory $gpus" \
        "PartitionName=gpu Nodes=$NODE Default=YES MaxTime=INFINITE DefaultTime=60 State=UP"
}

write_config() {
    local number version cgroups=disabled etc=$ROOT/etc
    [ -s "$etc/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$etc/munge.key")
    slurm_conf >"$SLURM_CONF"
    # slurmd counts no GPU without a device file, so each is a copy of /dev/null; the number in its name is the index.
    : >"$etc/gres.conf"
    for ((number = 0; number < GPUS; number++)); do
        [ -c "$ROOT/dev/gpu$number" ] || mknod "$ROOT/dev/gpu$number" c 1 3 2>/dev/null ||
            refuse "no device files can be made here: give the container CAP_MKNOD or set SLURM_DEV_GPUS=0"
        echo "NodeName=$NODE Name=gpu File=$ROOT/dev/gpu$number" >>"$etc/gres.conf"
    done
    # slurmd looks for cgroups, which a container may lack, though nothing here uses them. Before 23.11 it does not know
    # the word "disabled"; there it looks for nothing once it is told the version.
    version=$(slurmctld -V | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
    printf '%s\n' 23.11 "$version" | sort -VC || cgroups=cgroup/v1
    echo "CgroupPlugin=$cgroups" >"$etc/cgroup.conf"
    (
        umask 077 # slurmdbd refuses a file that others can read
        printf '%s\n' DbdHost=localhost DbdAddr=127.0.0.1 "AuthInfo=$SOCKET" SlurmUser=root \
            StorageType=accounting_storage/mysql StorageHost=127.0.0.1 "StoragePort=$DB_PORT" \
            StorageUser=slurm StoragePass=slurm-dev \
            "LogFile=$ROOT/log/slurmdbd.log" "PidFile=$ROOT/run/slurmdbd.own.pid" >"$etc/slurmdbd.conf"
    )
    # Commands in other terminals find the cluster too, unless this machine belongs to another one.
    [ -e /etc/slurm/slurm.conf ] || { mkdir -p /etc/slurm && ln -sfn "$SLURM_CONF" /etc/slurm/slurm.conf; }
}

start_accounting() {
    if [ ! -d "$ROOT/mysql" ]; then
        rm -rf "${ROOT:?}/mysql.new"
        # --force: the name of the machine may be unknown to the resolver
        mariadb-install-db --no-defaults --user=root --datadir="$ROOT/mysql.new" --skip-test-db --force \
            >"$ROOT/log/mariadb-install.log" 2>&1 || die "no database: see $ROOT/log/mariadb-install.log"
        mv "$ROOT/mysql.new" "$ROOT/mysql"
    fi
    launch mariadbd "${SQL[@]}" --user=root --datadir="$ROOT/mysql" --bind-address=127.0.0.1 --port="$DB_PORT" \
        --pid-file="$ROOT/run/mysql.own.pid"
    wait_for mariadbd 60 mariadb-admin "${SQL[@]}" ping
    mariadb "${SQL[@]}" -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
        CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY 'slurm-dev';
        CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED BY 'slurm-dev';
        GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1', slurm@localhost;"
    launch slurmdbd -D
    wait_for slurmdbd 60 timeout 10 sacctmgr -n list cluster
    sacctmgr -n list cluster format=cluster | grep -qw dev || timeout 30 sacctmgr -i add cluster dev >/dev/null
}

is_up() {
    local name needed=(munged slurmctld slurmd)
    if grep -qs 'accounting_storage/slurmdbd' "$SLURM_CONF"; then needed=("${DAEMONS[@]}"); fi
    for name in "${needed[@]}"; do pid_of "$name" >/dev/null || return 1; done
    takes_jobs
}
takes_jobs() { timeout 10 sinfo -h -o %t 2>/dev/null | grep -Eqx 'idle|mix|alloc'; }
# A node that was drained, or silent for long, is not used again by itself.
revive_node() { takes_jobs || { timeout 10 scontrol update "nodename=$NODE" state=resume; false; }; }

start() {
    local old
    check_settings
    mkdir -p "$ROOT"/{etc,run,dev,log,state,spool}
    chmod 755 "$ROOT" "$ROOT"/{etc,run}
    chmod 700 "$ROOT"/{log,state}
    take_turn
    install_packages
    if is_up; then
        [ -z "$CLEAN" ] || refuse "the cluster is up: stop it before a start with SLURM_DEV_CLEAN"
        cmp -s <(slurm_conf) "$SLURM_CONF" || refuse "the cluster is up with other settings: stop it first"
        say "is up already"
        return
    fi
    [ -z "$CLEAN" ] || stop_daemons
    [ -z "$CLEAN" ] || rm -rf "${ROOT:?}"/{state/*,mysql}
    write_config
    launch munged --foreground --force --socket="$SOCKET" --key-file="$ROOT/etc/munge.key" \
        --pid-file="$ROOT/run/munged.own.pid" --log-file="$ROOT/log/munged.log" --seed-file="$ROOT/etc/munge.seed"
    wait_for munged 10 munge -n --socket="$SOCKET"
    [ "$ACCT" = none ] || start_accounting
    rm -f "$ROOT/state/clustername" # it would refuse jobs of a start with, or without, accounting
    launch slurmctld -D -f "$SLURM_CONF"
    wait_for slurmctld 30 timeout 10 scontrol ping
    if old=$(pid_of slurmd); then kill -HUP "$old"; fi # a controller that is new knows the node once it reports again
    launch slurmd -D -N "$NODE" -f "$SLURM_CONF"
    wait_for slurmd 90 revive_node
    say "up: $(sinfo -h -o 'partition %P, %c CPUs, %m MB, GPUs %G')"
}

stop_daemons() {
    local name pid position
    for ((position = ${#DAEMONS[@]} - 1; position >= 0; position--)); do
        name=${DAEMONS[position]}
        if pid=$(pid_of "$name"); then
            kill "$pid"
            for _ in {1..300}; do pid_of "$name" >/dev/null || break; sleep 0.1; done
            if pid_of "$name" >/dev/null; then kill -9 "$pid"; fi
            say "stopped $name"
        fi
        rm -f "$ROOT/run/$name.pid"
    done
}

# Their processes would outlive slurmd. Jobs that cannot be queued again, such as a bare srun, are cancelled. The next
# start reads the state of the partition from slurm.conf: up.
put_jobs_back() {
    local job
    timeout 10 scontrol update partitionname=gpu state=down || say "waiting jobs may start for a moment"
    for job in $(timeout 10 squeue -h -t running -o %A); do
        timeout 10 scontrol requeue "$job" 2>/dev/null || timeout 10 scancel "$job"
    done
    for _ in {1..150}; do [ -n "$(timeout 10 squeue -h -t running,completing)" ] || break; sleep 0.1; done
}

stop() {
    check_settings
    [ -d "$ROOT/run" ] || { say "is down already"; return; }
    take_turn
    if is_up; then put_jobs_back; fi
    stop_daemons
    [ "$(readlink /etc/slurm/slurm.conf || true)" != "$SLURM_CONF" ] || rm -f /etc/slurm/slurm.conf
    say "is down"
}

status() {
    local name pid
    check_settings
    for name in "${DAEMONS[@]}"; do
        if pid=$(pid_of "$name"); then say "$name runs (process $pid)"; else say "$name is down"; fi
    done
    is_up || { say "the node takes no jobs"; exit 1; }
    say "$(timeout 10 sinfo -h -N -o 'node %N is %t, partition %P, %c CPUs, %m MB, GPUs %G')"
    say "$(timeout 10 squeue -h -t running | wc -l) jobs run, $(timeout 10 squeue -h -t pending | wc -l) wait"
}

case "${1:-}:$#" in
    start:1 | stop:1 | status:1) "$1" ;;
    *) sed -n '/^# usage/,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
