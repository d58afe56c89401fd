import { type Lease, NoNamespaceError } from '../kube/lease.ts';
import type { Log } from '../ports/log.ts';
import { StartError } from './errors.ts';
import type { RunOptions } from './options.ts';

type LeaseOptions = Pick<RunOptions, 'leaseNamespace' | 'loadBalancerClass'>;

/** Waits for the Lease, saying who has it. Throws {@link StartError} where there is no namespace for it. */
export async function acquireLease(
  lease: Pick<Lease, 'acquire'>,
  { leaseNamespace, loadBalancerClass }: LeaseOptions,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  try {
    await lease.acquire(signal, (holder) =>
      log.warn(
        { holder, class: loadBalancerClass },
        `another furiwake serves this class: waiting for ${holder} to end`,
      ),
    );
  } catch (error) {
    if (!(error instanceof NoNamespaceError)) throw error;
    throw new StartError(
      `the namespace ${leaseNamespace}, where the Lease is to be, is not there: ${noNamespaceAdvice}`,
      { cause: error },
    );
  }
}

export const noNamespaceAdvice = 'kubectl apply -f deploy/furiwake.yaml, or name another one with --lease-namespace';

/** Ends when `signal` aborts; throws {@link StartError} when another process has taken the Lease. */
export async function untilLost(lease: Pick<Lease, 'hold'>, signal: AbortSignal): Promise<void> {
  const loss = await lease.hold(signal);
  if (loss.reason === 'taken')
    throw new StartError(
      `the Lease was taken by ${loss.holder}: this host no longer decides. Traffic goes on as it was; run \`furiwake cleanup\` here if ${loss.holder} is to serve it`,
    );
}
