import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { startNetLab } from './net-lab.ts';

/*
 * Starts a lab with a daemon in it and a file system in its folder, prints the lab's folder and the namespace of the daemon, and
 * waits to be killed.
 */
const { balancer, folder } = await startNetLab({ nodes: 1 });
const file = path.join(folder, 'haproxy.cfg');
await writeFile(file, 'listen all\n    mode http\n    timeout client 1m\n    bind :8080\n');
await balancer.exec('haproxy', '-W', '-D', '-f', file);
const mount = path.join(folder, 'state');
await mkdir(mount);
await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', mount]);
process.stdout.write(`${JSON.stringify({ folder, namespace: balancer.namespace })}\n`);
