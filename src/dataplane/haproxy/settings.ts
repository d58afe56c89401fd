/** Port on both loopback addresses where HAProxy takes the connections; privileged, so that no local user can take it. */
export const listenPort = 292;

/** What is fixed for the life of a HAProxy process. */
export type Settings = {
  /** Everything of HAProxy's lives here: see {@link pathsIn}. */
  readonly folder: string;
  /** Connections that the whole process can hold; two descriptors each. */
  readonly maxConnections: number;
  /** How long a connection without a byte in either direction lives. */
  readonly idleTimeoutSeconds: number;
  /** False on a kernel without IPv6, where its loopback address cannot be bound. */
  readonly hasIpv6: boolean;
  /** The account of the workers after the start (the master keeps root for reloads); `undefined`: they stay root. */
  readonly account: { readonly uid: number; readonly gid: number } | undefined;
};

export type Paths = {
  readonly config: string;
  /** Where a new configuration waits for HAProxy's verdict. */
  readonly candidate: string;
  readonly map: string;
  readonly pid: string;
  readonly workerSocket: string;
  readonly masterSocket: string;
  /** A listener of the worker that answers HTTP requests by itself: proof that its event loop runs. */
  readonly monitorSocket: string;
};

/**
 * The files in `folder`. Throws `RangeError` where HAProxy could not use them: it binds a socket under a temporary
 * name that is ten characters longer (97 bytes remain of the kernel's 107), and blanks, commas or quotes would end a
 * word of the configuration or of a runtime command.
 */
export function pathsIn(folder: string): Paths {
  const paths = {
    config: `${folder}/haproxy.cfg`,
    candidate: `${folder}/candidate.cfg`,
    map: `${folder}/services.map`,
    pid: `${folder}/haproxy.pid`,
    workerSocket: `${folder}/worker.sock`,
    masterSocket: `${folder}/master.sock`,
    monitorSocket: `${folder}/alive.sock`,
  };
  if (!/^\/[\w./-]*$/.test(folder))
    throw new RangeError(`the folder ${JSON.stringify(folder)} must be absolute, of letters, digits and _ . / - only`);
  if (paths.masterSocket.length > 97) throw new RangeError(`the folder ${folder} is too long for a unix socket in it`);
  return paths;
}

/**
 * How many connections a process with this descriptor limit can hold: two each, after a reserve for listeners, sockets
 * and the health checks that are under way (one for each node at worst, when all are silent).
 */
export function connectionLimit(descriptorLimit: number): number {
  const reserve = Math.min(2200, Math.floor(descriptorLimit / 4));
  return Math.min(500_000, Math.floor((descriptorLimit - reserve) / 2));
}

/** The most connections of one Service: half of all, so that one cannot starve the rest. */
export function capOf(maxConnections: number): number {
  return Math.max(1, Math.floor(maxConnections / 2));
}
