// Orders: a dialog that asks for what the API needs to know, and says in its words what came of it.

import { path, post, setToken, token } from './api.js';
import { el, say } from './words.js';

const SPANS = [
  ['15m', '15 minutes'],
  ['1h', '1 hour'],
  ['4h', '4 hours'],
  ['12h', '12 hours'],
  ['24h', '1 day'],
  ['72h', '3 days'],
];
const SCOPES = [
  ['both', 'scaling out and in'],
  ['scale-in', 'scaling in only'],
  ['scale-out', 'scaling out only'],
];

const select = (name, options, chosen) =>
  el(
    'select',
    { name, required: true },
    options.map(([value, text]) => el('option', { value, selected: value === chosen }, text)),
  );
const field = (label, input, hint = null) =>
  el('label', { class: 'field' }, el('span', {}, label), input, hint ? el('small', { class: 'muted' }, hint) : null);
const instances = (name) => el('input', { name, type: 'number', min: 0, step: 1, inputmode: 'numeric' });

const expires = () => field('For how long', select('expires', SPANS, '1h'), 'It ends by itself then.');
const ACTIONS = {
  pause: {
    title: 'Pause',
    done: 'is paused',
    fields: () => [field('What stops', select('scope', SCOPES, 'both')), expires()],
  },
  resume: { title: 'Resume', done: 'is resumed', fields: () => [] },
  override: {
    title: 'Override',
    done: 'is overridden',
    fields: ({ min, max }) => [
      field('At least', instances('floor'), `Instances; the policy’s own bounds, ${min} to ${max}, hold all the same.`),
      field('At most', instances('cap'), 'The same number twice is an exact capacity. One of the two is enough.'),
      expires(),
    ],
  },
  release: { title: 'Release', done: 'is released from its override', fields: () => [] },
};

/** A dialog that calls `submit` with the form's fields until that does not throw; gives what it gave, or null. */
function ask(title, content, label, submit) {
  return new Promise((resolve) => {
    const problem = el('p', { class: 'bad', role: 'alert' });
    const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' });
    const finish = (result) => {
      dialog.close();
      dialog.remove();
      resolve(result);
    };
    const form = el(
      'form',
      {
        onsubmit: async (event) => {
          event.preventDefault();
          problem.textContent = '';
          try {
            finish(await submit(Object.fromEntries(new FormData(form))));
          } catch (error) {
            problem.textContent = error.message;
          }
        },
      },
      el('h2', { id: 'dialog-title' }, title),
      content,
      problem,
      el(
        'div',
        { class: 'buttons' },
        el('button', { type: 'button', onclick: () => finish(null) }, 'Cancel'),
        el('button', { type: 'submit', class: 'main' }, label),
      ),
    );
    dialog.append(form);
    dialog.addEventListener('cancel', () => finish(null));
    document.body.append(dialog);
    dialog.showModal();
  });
}

const tokenField = () =>
  field(
    'Bearer token',
    el('input', { name: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false' }),
    'It is kept in this tab until you close it, and sent to this server only. A viewer’s token reads; orders need an operator’s.',
  );

/** Asks for a token: the text, the empty text to forget the one of now, or null to leave everything as it is. */
export function askForToken(known) {
  const hint = known ? el('p', {}, 'A token has been given. Leave the field empty to forget it.') : null;
  return ask('Token', [hint, tokenField()].filter(Boolean), known ? 'Replace' : 'Use', (fields) => fields.token.trim());
}

/** Gives an order for a policy. */
export async function order(name, policy) {
  const { title, done, fields } = ACTIONS[name];
  const reason = field(
    'Why',
    el('input', { name: 'reason', required: true, maxlength: 500, autocomplete: 'off' }),
    'One line, which the journal keeps.',
  );
  const author = field(
    'Your name',
    el('input', { name: 'author', maxlength: 60, autocomplete: 'off' }),
    'Beside whoever the token says.',
  );
  const content = [...fields(policy), reason, author, token() ? null : tokenField()].filter(Boolean);
  const given = await ask(`${title} ${policy.name}`, content, title, async ({ token: entered, ...body }) => {
    if (entered) setToken(entered.trim());
    const filled = Object.entries(body).filter(([, value]) => value !== '');
    const number = ([key, value]) => [key, key === 'floor' || key === 'cap' ? Number(value) : value];
    try {
      return await post(path(policy.name, `/${name}`), Object.fromEntries(filled.map(number)));
    } catch (error) {
      // One that is nobody's would keep this tab from reading as well.
      if (entered) setToken(null);
      throw error;
    } finally {
      window.dispatchEvent(new Event('token'));
    }
  });
  if (!given) return;
  const but = given.but ? ` But ${given.but}.` : '';
  const forgotten = given.not_kept_because ? ` A restart would forget it: ${given.not_kept_because}` : '';
  say(`${policy.name} ${done}.${but}${forgotten}`);
}
