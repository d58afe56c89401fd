/*
 * Runs on a machine that stands for nodes: `node kube-proxy.ts` answers health checks on port 10256 as a kube-proxy that syncs
 * once a second, and to every other path that the node is healthy. Says `serving`.
 */
import { createServer } from 'node:http';

const startedMs = Date.now();
const periodMs = 1_000;

const server = createServer({ keepAliveTimeout: 0 }, (_, response) => {
  const nowMs = Date.now();
  const syncedMs = startedMs + Math.floor((nowMs - startedMs) / periodMs) * periodMs;
  const sync = { lastUpdated: new Date(syncedMs).toISOString(), healthy: true };
  response.end(JSON.stringify({ currentTime: new Date(nowMs).toISOString(), status: { IPv4: sync, IPv6: sync } }));
});
server.listen(10_256, () => process.stdout.write('serving\n'));
