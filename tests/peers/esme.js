// A client made of npm "smpp": binds to our SMSC, sends one long and one short text, prints receipts and replies.
// node esme.js <port> <how many receipts to wait for>
const smpp = require('smpp');
smpp.addTLV('client_reference', { id: 0x1401, type: smpp.types.tlv.string });
const [port, wanted] = process.argv.slice(2).map(Number);
const say = (line) => console.log(JSON.stringify(line));
const session = smpp.connect({ host: '127.0.0.1', port });
let told = 0;

session.on('deliver_sm', (pdu) => {
  say({
    from: pdu.source_addr, text: pdu.short_message.message, receipt: pdu.esm_class === 4,
    id: pdu.receipted_message_id || '', state: pdu.message_state || 0, reference: pdu.client_reference || '',
  });
  session.send(pdu.response());
  told += 1;
  if (told === wanted) session.unbind(() => { session.close(); process.exit(0); });
});

session.bind_transceiver({ system_id: 'evenreach', password: 'sandbox' }, (answer) => {
  say({ bound: answer.command_status, name: answer.system_id });
  const send = (text, reference, udh) => session.submit_sm({
    source_addr: '10690000', source_addr_ton: 3, destination_addr: '8613800138000', dest_addr_ton: 1,
    dest_addr_npi: 1, esm_class: udh ? 0x40 : 0, short_message: udh ? { udh, message: text } : text, registered_delivery: udh ? 0 : 1, client_reference: reference,
  }, (got) => say({ status: got.command_status, id: got.message_id }));
  send('你好'.repeat(30), '41', Buffer.from([5, 0, 3, 7, 2, 1]));
  send('世界'.repeat(30), '41', Buffer.from([5, 0, 3, 7, 2, 2]));
  send('price {10} €', '42');
  session.submit_sm({ source_addr: '10690000', destination_addr: 'nobody', short_message: 'x' }, (got) => say({ status: got.command_status }));
  session.enquire_link((got) => say({ alive: got.command_status }));
});
