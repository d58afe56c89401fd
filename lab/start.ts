import { mkdir, rename, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { findBinaries } from './binaries/binaries.ts';
import { auditFlags } from './cluster/audit.ts';
import { startCluster } from './cluster/cluster.ts';
import { LabError } from './errors.ts';
import { checkName, folderOf, writeLabRecord } from './folder.ts';
import { findImages } from './images/images.ts';
import { type Lab, makeLab } from './lab.ts';
import { removeLab } from './leftovers.ts';
import { type Claim, tryClaim } from './machine/claim.ts';
import { installPackages } from './machine/packages.ts';
import { type Size, planHosts } from './network/address-plan.ts';
import { makeHost } from './network/host.ts';
import { type Progress, stderrProgress } from './progress.ts';

export type LabOptions = Partial<Size> & {
  /** Labs of different names run side by side; default `lab`. At most 16 of a-z and 0-9. */
  readonly name?: string;
  /**
   * Whether the Nodes have an InternalIP of each family (default), or only of IPv4. Pods and Services have both.
   */
  readonly hasDualStackNodes?: boolean;
  /** More flags for the API server. */
  readonly apiServerFlags?: readonly string[];
  /** Users whose requests the API server records, for {@link Lab.auditLog}; default none. */
  readonly auditUsers?: readonly string[];
  /** The output for the progress; default standard error. */
  readonly progress?: Progress;
  /** Ends the start, and every wait on the lab afterwards. */
  readonly signal?: AbortSignal;
};

/** A lab that this process owns: removed with `await using`, unless kept. */
export type StartedLab = Lab &
  AsyncDisposable & {
    /** Keeps the lab running when it is disposed of or this process ends; another process may `openLab` it. */
    keep(): void;
  };

const never = new AbortController().signal;

/**
 * Installs and builds missing parts, then starts a lab (by default 2 nodes, 1 load-balancer host, 1 client); resolves
 * when all nodes are Ready and have their images.
 *
 * First removes the remains of an earlier lab of the same name, kept or not. A failed or aborted start leaves no trace,
 * except the logs after a failure.
 *
 * @throws LabError `NEEDS_ROOT`, `LAB_BUSY` (a running process has a lab of this name), `BAD_OPTION`,
 *   `PACKAGES_MISSING`, `BUILD_FAILED`, `TIMED_OUT`
 */
export async function startLab(options: LabOptions = {}): Promise<StartedLab> {
  const { name = 'lab', signal = never, progress = stderrProgress() } = options;
  const { nodes = 2, loadBalancers = 1, clients = 1 } = options;
  const folder = folderOf(checkName(name));
  const size = { nodes, loadBalancers, clients };
  const plans = planHosts(size);
  const claim = await claimLab(name, folder);
  const stop = new AbortController();
  const abort = (): void => stop.abort(signal.reason);
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  try {
    await installPackages(progress, stop.signal);
    const binaries = await findBinaries(progress, stop.signal);
    const images = await findImages(binaries, progress, stop.signal);
    using step = progress.step(`Starting lab ${name}`);
    await removeLab(name, folder, never);
    await rm(failedLogs(folder), { recursive: true, force: true });
    await mkdir(path.join(folder, 'bin'), { recursive: true });
    await writeLabRecord(folder, { size, isUp: false });
    await Promise.all([...binaries].map(([binary, file]) => symlink(file, path.join(folder, 'bin', binary))));
    const hosts = plans.map((plan) => makeHost(plan, { lab: name, folder, signal: stop.signal }));
    const auditing = await auditFlags(folder, options.auditUsers ?? []);
    await startCluster({
      lab: name,
      folder,
      plans,
      hosts,
      images: [...images.values()],
      apiServerFlags: [...auditing, ...(options.apiServerFlags ?? [])],
      hasDualStackNodes: options.hasDualStackNodes ?? true,
      tell: step.update,
      stop,
    });
    await writeLabRecord(folder, { size, isUp: true });
    step.done();
    return ownedLab(makeLab(name, folder, hosts, stop.signal), claim);
  } catch (error) {
    stop.abort(error);
    if (!signal.aborted) await keepLogs(folder, progress);
    await removeLab(name, folder, never);
    await claim[Symbol.asyncDispose]();
    throw signal.aborted ? signal.reason : error;
  }
}

/**
 * Claims a lab's name, so that no other process starts or removes a lab that is in use.
 *
 * @throws LabError `NEEDS_ROOT`, `LAB_BUSY`
 */
export async function claimLab(name: string, folder: string): Promise<Claim> {
  if (process.getuid?.() !== 0)
    throw new LabError('NEEDS_ROOT', 'a lab is made of network namespaces, and only root may touch them', 'Use sudo.');
  const claim = await tryClaim(`lab ${folder}`);
  if (!('heldBy' in claim)) return claim;
  throw new LabError(
    'LAB_BUSY',
    `lab ${name} is in use by process ${claim.heldBy}`,
    'Wait until it is done, or choose another name.',
  );
}

function ownedLab(lab: Lab, claim: Claim): StartedLab {
  let isOurs = true;
  return {
    ...lab,
    keep: () => {
      isOurs = false;
    },
    [Symbol.asyncDispose]: async () => {
      if (isOurs) await lab.down();
      await claim[Symbol.asyncDispose]();
    },
  };
}

function failedLogs(folder: string): string {
  return `${folder}.failed`;
}

async function keepLogs(folder: string, progress: Progress): Promise<void> {
  await rm(failedLogs(folder), { recursive: true, force: true });
  await rename(path.join(folder, 'log'), failedLogs(folder)).then(
    () => progress.say(`The lab did not start; its logs are in ${failedLogs(folder)}`),
    () => undefined, // it failed before a log was created
  );
}
