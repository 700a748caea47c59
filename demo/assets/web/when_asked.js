// The second input is when this was asked: the two queues may answer in another order.
(newest, asked, ...inputs) => [newest, performance.now(), ...inputs]
