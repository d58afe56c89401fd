import { Command, InvalidArgumentError } from 'commander';
import { findBinaries } from './binaries/binaries.ts';
import { LabError } from './errors.ts';
import { folderOf, labsWithFolders, readLabRecord } from './folder.ts';
import { findImages } from './images/images.ts';
import { openLab } from './lab.ts';
import { type Removed, labsWithNamespaces, removeLab } from './leftovers.ts';
import { installPackages } from './machine/packages.ts';
import { stderrProgress } from './progress.ts';
import { claimLab, startLab } from './start.ts';
import { follow, runHere } from './terminal.ts';
import { statusText } from './status.ts';

type NameOption = { readonly name: string };
type UpOptions = NameOption & {
  readonly nodes: number;
  readonly loadBalancers: number;
  readonly clients: number;
  readonly audit?: readonly string[];
  readonly replace?: true;
};

/** Aborts at the first Ctrl-C; the running command cleans up and ends with 130. */
const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => interrupt.abort(new LabError('INTERRUPTED', 'interrupted')));
const { signal } = interrupt;

const program = new Command('npm run lab --')
  .description('A real Kubernetes on this machine: each host is a set of namespaces.')
  .enablePositionalOptions()
  .showHelpAfterError('(see --help)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .addHelpText(
    'after',
    `
Hosts: cp, n1…, lb1…, lanclient (on the nodes' LAN), router, client (behind the router).
Parts: apiserver, etcd, controller-manager, scheduler, n1-containerd, n1-kubelet, n1-kube-proxy, HOST-NAME.

Examples:
  npm run lab -- up --nodes 3
  npm run lab -- kubectl get nodes --output wide
  npm run lab -- exec client curl http://192.0.2.51/
  npm run lab -- exec lb1 bash
  npm run lab -- logs n1-kubelet
  npm run lab -- down --all
`,
  );

command('up', 'start a lab and leave it up')
  .option('--nodes <n>', 'cluster nodes: n1, n2, …', count, 2)
  .option('--load-balancers <n>', 'load-balancer hosts: lb1, …', count, 1)
  .option('--clients <n>', 'clients behind the router: client, client2, …', count, 1)
  .option('--audit <user...>', 'record these users’ requests in the audit log')
  .option('--replace', 'first remove a running lab of this name')
  .action(up);

command('down', 'remove a lab and verify that no part of it is left')
  .option('--all', 'every lab on this machine, including the remains of failed ones')
  .action(down);

command('status', 'list the hosts, parts and nodes').action(async ({ name }: NameOption) => {
  print(await statusText(await openLab(name, signal)));
});

command('kubectl', 'run kubectl as administrator')
  .argument('[arguments...]')
  .passThroughOptions()
  .allowUnknownOption()
  .helpOption(false)
  .action(async (args: readonly string[], { name }: NameOption) => {
    const lab = await openLab(name, signal);
    process.exitCode = await runHere(await lab.host('cp').command(['kubectl', ...args]));
  });

command('exec', 'run a command on a host')
  .argument('<host>')
  .argument('<command...>')
  .passThroughOptions()
  .action(async (host: string, argv: readonly string[], { name }: NameOption) => {
    const lab = await openLab(name, signal);
    process.exitCode = await runHere(await lab.host(host).command(argv[0] === '--' ? argv.slice(1) : argv));
  });

command('logs', 'show the log of a part of the lab')
  .argument('<part>')
  .option('-f, --follow', 'also show new lines as they are written')
  .action(async (part: string, options: NameOption & { readonly follow?: true }) => {
    const lab = await openLab(options.name, signal);
    if (options.follow === true) process.exitCode = await follow(await lab.logPath(part));
    else process.stdout.write(await lab.logs(part));
  });

program
  .command('prepare')
  .description('install and build the requirements of a lab, once; `up` also does this')
  .action(async () => {
    const progress = stderrProgress();
    await installPackages(progress, signal);
    const images = await findImages(await findBinaries(progress, signal), progress, signal);
    print(`The lab has all it needs: its own programs and ${images.size} images.`);
  });

try {
  await program.parseAsync();
} catch (caught) {
  const error: unknown = signal.aborted ? signal.reason : caught;
  if (!(error instanceof LabError)) throw error;
  process.stderr.write(`lab: ${error.message}\n${error.hint === undefined ? '' : `${error.hint}\n`}`);
  process.exitCode = signal.aborted ? 130 : error.code === 'BAD_OPTION' ? 2 : 1;
}

async function up({ name, nodes, loadBalancers, clients, audit = [], replace }: UpOptions): Promise<void> {
  if (replace !== true && (await readLabRecord(folderOf(name)))?.isUp === true)
    throw new LabError('LAB_BUSY', `lab ${name} is up already`, 'Take it down first, or use --replace.');
  await using lab = await startLab({ name, nodes, loadBalancers, clients, auditUsers: audit, signal });
  lab.keep();
  const named = name === 'lab' ? '' : ` --name ${name}`;
  print(`Lab ${name} is up.

  npm run lab -- kubectl${named} get nodes
  npm run lab -- exec${named} client curl http://${lab.host('n1').ip4}:30080/
  npm run lab -- status${named}
  npm run lab -- down${named}

Kubeconfig of its administrator, for programs on its hosts: ${lab.kubeconfig()}`);
}

async function down({ name, all }: NameOption & { readonly all?: true }): Promise<void> {
  const names = all === true ? new Set([...(await labsWithFolders()), ...(await labsWithNamespaces())]) : [name];
  for (const lab of names) {
    const folder = folderOf(lab);
    const claim = await claimLab(lab, folder);
    print(removedText(lab, await removeLab(lab, folder, new AbortController().signal)));
    await claim[Symbol.asyncDispose]();
  }
  if (all === true && [...names].length === 0) print('There is no lab on this machine.');
}

function removedText(lab: string, removed: Removed): string {
  const { processes, namespaces, mounts, cgroups, folder } = removed;
  const counts = [
    [processes.length, 'processes'],
    [namespaces.length, 'network namespaces'],
    [mounts.length, 'mounts'],
    [cgroups.length, 'cgroups'],
  ] as const;
  const parts = [...counts.map(([number, what]) => `${number} ${what}`), ...(folder === undefined ? [] : [folder])];
  return `Lab ${lab} is down. Removed: ${parts.join(', ')}. Verified: nothing is left.`;
}

function command(name: string, description: string): Command {
  return program.command(name).description(description).option('--name <name>', 'which lab', 'lab');
}

function count(text: string): number {
  if (!/^\d{1,2}$/.test(text)) throw new InvalidArgumentError('It must be a number from 0 to 99.');
  return Number(text);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
