/** The contents of a HAProxy in memory. */
export type HaproxyWorker = {
  readonly pid: number;
  readonly description: string;
  readonly map: Map<string, string>;
  readonly servers: Map<string, string>;
  /** Servers with disabled health checks. */
  readonly unchecked: Set<string>;
  /** Those of the servers that are not 1. */
  readonly weights: Map<string, number>;
  readonly inMaintenance: Set<string>;
  readonly backends: ReadonlySet<string>;
  /** Servers that were added at run time: none can track them. */
  readonly added: Set<string>;
  /** Servers that another one has tracked: HAProxy never deletes them. */
  readonly followed: Set<string>;
  /** Those that track one. */
  readonly tracking: Set<string>;
  readonly gone: PromiseWithResolvers<void>;
};

/** The answer to one command, which changes the process. `map`: the name of its map. */
export function answerTo(process: HaproxyWorker, command: string, map: string): string {
  const [verb, what, first = '', second = '', third = ''] = command.split(' ');
  if (command === 'show info')
    return `Pid: ${process.pid}\nVersion: 2.6.12\ndescription: ${process.description}\nMaxconn: 100\nCurrConns: 0`;
  if (command.startsWith('show servers state')) {
    const header =
      '1\n# be_name srv_name srv_addr srv_admin_state srv_uweight srv_check_state srv_port srv_check_port srv_check_addr';
    const some = Array.from(process.servers).filter(([id]) => second === '' || id.startsWith(`${second}/`));
    const lines = some.map(([id, address]) => {
      const check = process.unchecked.has(id) ? 2 : 6;
      const admin = process.inMaintenance.has(id) ? 1 : 0;
      return `${id.replace('/', ' ')} ${address} ${admin} ${process.weights.get(id) ?? 1} ${check} 0 10256 -`;
    });
    return [header, ...lines].join('\n');
  }
  if (command === 'show map')
    return `# id (file) description\n0 (${map}) pattern loaded from file. curr_ver=0 next_ver=0 entry_cnt=${process.map.size}`;
  if (verb === 'show' && what === 'map') return Array.from(process.map, (entry) => `0x1 ${entry.join(' ')}`).join('\n');
  if (command === 'show backend') return ['# name', ...process.backends].join('\n');
  if (verb === 'show' && what === 'stat') return '# pxname,svname,scur,stot,status,check_status,last_chk,addr,';
  if (verb === 'show') return '# table: services';
  if (what === 'health') {
    if (verb === 'enable') process.unchecked.delete(first);
    else process.unchecked.add(first);
  }
  if (what === 'map') {
    if (verb !== 'add' && !process.map.has(second)) return verb === 'del' ? 'Key not found.' : 'entry not found.';
    if (verb === 'del') process.map.delete(second);
    else process.map.set(second, third);
  }
  if (what === 'server' && verb !== 'add' && !process.servers.has(first)) return 'No such server.';
  if (verb === 'add' && what === 'server') {
    if (!process.backends.has(first.split('/')[0] ?? '')) return 'No such backend.';
    if (process.servers.has(first)) return 'Already exists a server with the same name in backend.';
    const followed = followedIn(command);
    if (followed !== undefined && !process.servers.has(followed))
      return `unable to find required server '${followed}' for tracking.`;
    if (followed !== undefined && process.added.has(followed))
      return `unable to use ${followed} for tracking as it is a dynamic server.`;
    if (followed !== undefined) process.followed.add(followed);
    process.tracking.delete(first);
    if (followed !== undefined) process.tracking.add(first);
    process.inMaintenance.add(first);
    process.added.add(first);
    process.servers.set(first, withoutBrackets(second));
    process.unchecked.add(first);
    process.weights.set(first, Number(/ weight (\d+)/.exec(command)?.[1] ?? 1));
    return 'New server registered.';
  }
  if (verb === 'set' && what === 'server') {
    if (second === 'health' && process.tracking.has(first)) return 'cannot change health on a tracking server.';
    if (second === 'weight') process.weights.set(first, Number(third));
    if (second === 'addr') process.servers.set(first, third);
    if (second === 'state' && third === 'maint') process.inMaintenance.add(first);
    else if (second === 'state') process.inMaintenance.delete(first);
  }
  if (verb === 'del' && what === 'server') {
    if (process.followed.has(first))
      return 'This server cannot be removed at runtime due to other configuration elements pointing to it.';
    if (!process.inMaintenance.delete(first)) return 'Only servers in maintenance mode can be deleted.';
    process.servers.delete(first);
    process.added.delete(first);
    return 'Server deleted.';
  }
  return '';
}

/** The server that a server tracks, by its line in the configuration or the command that adds it. */
export const followedIn = (text: string): string | undefined => / track (\S+)/.exec(text)?.[1];

export const withoutBrackets = (address: string): string => address.replace(/^\[(.*)\]$/, '$1');
