#!/bin/bash
# Train on several nodes with several GPUs each. From the repository's folder, which all nodes must see:
#
#   sbatch --nodes 2 --gpus-per-node 4 training/slurm.sh --recipe training/recipes/starry_night.yaml --photos FOLDER
#
# Everything after the script's name goes to train.py. What the run saves (--output-dir, by default runs/) must be on
# a disk that all nodes see too: after a restart another node may be the first one, which is the one that writes.
#
# MLFLOW_TRACKING_URI should name a server that the nodes reach (see `make tracker`); the default, a sqlite file in
# mlruns/, works for one job at a time if the shared disk locks files properly, which not every NFS does.

#SBATCH --job-name=stylecore
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
# One launcher a node; it starts one process for every GPU. Each of these has 2 more that read photos (--workers).
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
# Two minutes before the time is up the processes get a SIGTERM: they save the state and end.
#SBATCH --signal=TERM@120
# A preempted job, or one whose node failed, is queued again, and goes on from its last state by --resume auto.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%j.out

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start this file with sbatch}"
if [[ -f .venv/bin/activate ]]; then
    # shellcheck source=/dev/null
    source .venv/bin/activate
fi

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
gpus_per_node=${SLURM_GPUS_ON_NODE:?the job has no GPUs; ask for them with --gpus-per-node}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Where nodes have several networks and hang at the start, name the right one:
# export NCCL_SOCKET_IFNAME=ib0

launch=(
    accelerate launch --multi_gpu
    --num_machines "$SLURM_JOB_NUM_NODES"
    --num_processes "$((SLURM_JOB_NUM_NODES * gpus_per_node))"
    --main_process_ip "${nodes[0]}"
    --main_process_port "$((20000 + SLURM_JOB_ID % 20000))" # jobs that share a node must not share a port
    --rdzv_backend c10d
    # When a process dies (a GPU falls off the bus), all of them start again from the last state.
    --max_restarts 3
    --monitor_interval 5
    --mixed_precision no # train.py has its own --mixed-precision
    --dynamo_backend no  # and its own --compile
)

# SLURM_NODEID differs from node to node, so each node's own shell has to fill it in.
# shellcheck disable=SC2016
srun --kill-on-bad-exit=1 bash -c 'exec "${@:2:$1}" --machine_rank "$SLURM_NODEID" "${@:$1+2}"' node \
    "${#launch[@]}" "${launch[@]}" training/train.py --resume auto "$@"
